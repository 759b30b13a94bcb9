"""Natural hooks of frameworks: an extension, an installed app, a task class, a middleware.

None is needed: the ASGI and WSGI middlewares work everywhere. Each module here needs its framework and
nothing else, and is imported by nobody but you.
"""

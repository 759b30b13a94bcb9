"""``stateguard run``: the guard around whatever application a server loads, with no change to its code.

The command puts a ``sitecustomize`` module on ``PYTHONPATH`` and becomes the server. Every Python process
that the server starts, workers included, imports that module, which waits for one of the known servers to be
imported (:mod:`stateguard.run.servers`) and wraps the application where the server takes it.
"""

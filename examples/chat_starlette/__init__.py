"""A customer-support agent on Starlette: as teams write it (``leaking``) and as it should be (``repaired``).

``diff -u examples/chat_starlette/leaking examples/chat_starlette/repaired`` shows the whole repair.
"""

"""The same support agent on Flask, for threaded servers: ``leaking`` and ``repaired``."""

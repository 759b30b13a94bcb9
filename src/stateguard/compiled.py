"""Whether the compiled parts of the package may be used, where it is installed with them.

Not without the interpreter lock, which they rely on: importing one would bring it back.
``STATEGUARD_PURE=1`` does without them.
"""

from __future__ import annotations

import os
import sys

WANTED: bool = (
    sys.implementation.name == "cpython"
    and getattr(sys, "_is_gil_enabled", lambda: True)()
    and not os.environ.get("STATEGUARD_PURE")
)

"""The command line: ``stateguard audit``. Thin: it reads options, calls the library and chooses exit codes.

Exit codes: 0 clean, 1 findings, 2 a wrong option or a problem of the tool itself.
"""

from __future__ import annotations

import sys

from stateguard.errors import StateGuardError

MISSING = (
    "the command line needs packages that are not installed ({name}). Install them with:\n\n    {command}\n"
)


def main() -> None:
    """Run the ``stateguard`` command."""
    try:
        from stateguard.commands import stateguard
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        message = MISSING.format(name=error.name, command="pip install 'stateguard-middleware[cli]'")
        sys.stderr.write(f"stateguard: {message}")
        raise SystemExit(2) from None
    try:
        stateguard(prog_name="stateguard")
    except StateGuardError as error:
        sys.stderr.write(f"stateguard: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

"""The ``stateguard`` command. Thin: it starts the subcommands and turns what goes wrong into exit codes.

Exit codes: 0 clean, 1 findings, 2 a wrong option or a problem of the tool itself, 130 interrupted. The
subcommands are listed in :mod:`stateguard.commands`.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from stateguard.errors import StateGuardError

MISSING = (
    "the command line needs a package that is not installed ({name}). Install it with:\n\n    {command}\n"
)
INSTALL = "pip install 'stateguard-middleware[cli]'"


def main() -> None:
    """Run the command and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without these characters shows "?", not an error
    try:
        import click

        from stateguard.commands import stateguard
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        _leave(2, "stateguard: " + MISSING.format(name=error.name, command=INSTALL))
    try:
        code = stateguard(prog_name="stateguard", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        _leave(2)
    except StateGuardError as error:
        _leave(2, f"stateguard: {error}\n")
    except (click.Abort, KeyboardInterrupt):
        _leave(130, "stateguard: interrupted\n")
    except BrokenPipeError:
        # ``stateguard audit | head``: nobody reads on. The flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(1)
    except Exception:
        _leave(2, f"{traceback.format_exc()}\nstateguard: this is a bug in stateguard, please report it.\n")
    _leave(code if isinstance(code, int) else 0)


def _leave(code: int, message: str = "") -> NoReturn:
    sys.stderr.write(message)
    raise SystemExit(code)


if __name__ == "__main__":
    main()

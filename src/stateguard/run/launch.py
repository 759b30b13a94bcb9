"""Start a command so that every Python process below it guards what it serves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from stateguard.errors import ConfigError
from stateguard.run.servers import PATCHES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SITE = Path(__file__).with_name("site")
"""Where the ``sitecustomize`` module is that goes on ``PYTHONPATH``."""


def environment(options: Mapping[str, str], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the command; ``options`` are ``STATEGUARD_`` variables without their prefix."""
    env = dict(os.environ if base is None else base)
    env.update({f"STATEGUARD_{name.upper()}": value for name, value in options.items()})
    env["STATEGUARD_RUN"] = ",".join(PATCHES)
    others = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(SITE)]
    env["PYTHONPATH"] = os.pathsep.join([str(SITE), *others])
    return env


def resolve(command: Sequence[str]) -> list[str]:
    """The command with its program found: a script is run by this Python, tools are looked for beside it.

    Raises :class:`~stateguard.errors.ConfigError` when there is no such program.
    """
    name, *rest = command
    if name.endswith(".py") and Path(name).is_file():
        return [sys.executable, name, *rest]
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise ConfigError(
            f"there is no program {name!r} on the PATH or beside {sys.executable}. "
            "Write the command as you start it without stateguard, after `--`"
        )
    return [found, *rest]


def launch(command: Sequence[str], options: Mapping[str, str]) -> NoReturn:
    """Become ``command``: same process id, so that supervisors and signals reach the server itself."""
    program = resolve(command)
    env = environment(options)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execvpe(program[0], program, env)
    raise SystemExit(subprocess.call(program, env=env))

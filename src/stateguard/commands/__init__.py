"""The subcommands: one module each, listed in :data:`SUBCOMMANDS`, imported when first used."""

from __future__ import annotations

from importlib import import_module

import click

from stateguard._version import __version__

SUBCOMMANDS: dict[str, str] = {
    "audit": "stateguard.commands.audit:audit",
    "baseline": "stateguard.commands.baseline:baseline",
    "probe": "stateguard.commands.probe:probe",
    "report": "stateguard.commands.report:report",
    "rule": "stateguard.commands.rule:rule",
    "run": "stateguard.commands.run:run",
}
"""Command names and where they are. To add one: write its module and add a line here."""


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called, so that ``--help`` and each command start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in order."""
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        where = SUBCOMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="stateguard")
def stateguard() -> None:
    """Find the state that one web request leaks into another."""

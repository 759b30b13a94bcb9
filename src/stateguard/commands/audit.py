"""``stateguard audit``: options, progress, output, exit code."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from stateguard.audit import AuditOptions
from stateguard.audit.baseline import Baseline
from stateguard.audit.cache import CACHE_DIRECTORY
from stateguard.audit.changes import only_introduced
from stateguard.audit.evidence import confirm, read_evidence
from stateguard.audit.options import find_configuration, read_table, with_table
from stateguard.audit.run import audit as run_audit
from stateguard.commands.fixing import fix_findings
from stateguard.errors import ConfigError, StateGuardError
from stateguard.finding import CERTAINTIES, AuditReport, Certainty
from stateguard.leak import SEVERITIES, Severity
from stateguard.report.findings import as_json, concise, full, github, sarif, summary
from stateguard.report.wording import counted

FORMATS = ("full", "concise", "github", "json", "sarif")
PROGRESS_FROM = 200
"""Files from which a progress bar is worth drawing."""


def _codes(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(code.strip() for one in value for code in one.split(",") if code.strip())


@click.command(short_help="Find shared state that request code changes, in its source.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--select", multiple=True, callback=_codes, metavar="CODES", help="Only these rules (SG101, SG10, ALL)."
)
@click.option("--extend-select", multiple=True, callback=_codes, metavar="CODES", help="These rules as well.")
@click.option("--ignore", multiple=True, callback=_codes, metavar="CODES", help="Not these rules.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out files and directories, as well as the default ones.",
)
@click.option(
    "--no-default-excludes", is_flag=True, help="Audit tests, docs, migrations and virtual environments too."
)
@click.option(
    "--min-severity", type=click.Choice(SEVERITIES), help="Report from this severity on [default: low]."
)
@click.option(
    "--min-confidence", type=click.Choice(CERTAINTIES), help="Report from this confidence on [default: low]."
)
@click.option("--format", "style", type=click.Choice(FORMATS), help="Output format [default: full].")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the report to a file.")
@click.option("--fix", is_flag=True, help="Repair what can be repaired safely (needs libcst).")
@click.option(
    "--unsafe-fixes", is_flag=True, help="With --fix: also repairs that may change what the code does."
)
@click.option(
    "--diff", is_flag=False, flag_value="", default=None, metavar="[REV]",
    help="Only findings that git revision REV does not have. With --fix: show the changes only.",
)  # fmt: skip
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Findings listed in this file are known.",
)
@click.option(
    "--write-baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    help="List all current findings in a file.",
)
@click.option(
    "--evidence",
    multiple=True,
    metavar="PLACE",
    help="Leaks the guard recorded: a file of JSON lines, a directory of such files, or redis://...",
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The pyproject.toml to read.")
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
@click.option("--no-cache", is_flag=True, help=f"Do not read or write {CACHE_DIRECTORY}.")
@click.option("-j", "--jobs", type=click.IntRange(min=0), help="Processes; 0 for all cores [default: 0].")
@click.option("-q", "--quiet", is_flag=True, help="No summary, no progress.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 even when there are findings.")
def audit(
    paths: tuple[Path, ...],
    select: tuple[str, ...],
    extend_select: tuple[str, ...],
    ignore: tuple[str, ...],
    exclude: tuple[str, ...],
    no_default_excludes: bool,
    min_severity: Severity | None,
    min_confidence: Certainty | None,
    style: str | None,
    output: Path | None,
    fix: bool,
    unsafe_fixes: bool,
    diff: str | None,
    baseline: Path | None,
    write_baseline: Path | None,
    evidence: tuple[str, ...],
    config: Path | None,
    isolated: bool,
    no_cache: bool,
    jobs: int | None,
    quiet: bool,
    exit_zero: bool,
) -> None:
    """Find shared state that request code changes. The code is read, never imported or run."""
    root = Path.cwd()
    options = AuditOptions(root=root, jobs=0)
    table: dict[str, object] = {}
    configuration = None if isolated else config or find_configuration(root)
    if config is not None and not config.is_file():
        raise ConfigError(f"there is no file {str(config)!r}")
    if configuration is not None:
        table = dict(read_table(configuration))
        options = with_table(options, table, str(configuration))
    if fix and diff and Path(diff).exists():
        # ``--fix --diff src``: the path was taken for a revision.
        paths, diff = (Path(diff), *paths), ""
    if fix and diff:
        raise ConfigError("with --fix, --diff takes no revision")
    if diff == "" and not fix:
        raise ConfigError("--diff needs a git revision (--diff origin/main), or --fix")
    if unsafe_fixes and not fix:
        raise ConfigError("--unsafe-fixes goes with --fix")
    base_excludes = () if no_default_excludes else options.exclude
    options = replace(
        options,
        select=select or options.select,
        extend_select=(*options.extend_select, *extend_select),
        ignore=(*options.ignore, *ignore),
        exclude=(*base_excludes, *exclude),
        min_severity=min_severity or options.min_severity,
        min_confidence=min_confidence or options.min_confidence,
        jobs=options.jobs if jobs is None else jobs,
        cache=None if no_cache else root / CACHE_DIRECTORY / "audit",
    )
    chosen = list(paths) or [Path(str(p)) for p in _configured_paths(table)] or [Path(".")]
    style = style or ("github" if os.environ.get("GITHUB_ACTIONS") == "true" and output is None else "full")
    console = Console(highlight=False, soft_wrap=False)
    known = baseline or (Path(str(table["baseline"])) if "baseline" in table else None)

    def run() -> AuditReport:
        report = _with_progress(chosen, options, quiet or style != "full")
        if diff:
            report = only_introduced(report, diff, chosen, options)
        if evidence:
            report = confirm(report, read_evidence(evidence), root)
        if known is not None and write_baseline is None:
            report = Baseline.read(known).apply(report)
        return report

    report = run()
    if write_baseline is not None:
        number = Baseline.of(report.findings).write(write_baseline)
        click.echo(f"{counted(number, 'finding')} listed in {write_baseline}", err=True)
        return
    if fix:
        raise SystemExit(fix_findings(report, run, root, unsafe_fixes, diff is not None, console))
    _print(report, style, output, console, quiet)
    if (report.findings or report.missed) and not exit_zero:
        raise SystemExit(1)


def _configured_paths(table: dict[str, object]) -> list[object]:
    value = table.get("paths", [])
    return value if isinstance(value, list) else []


def _with_progress(paths: list[Path], options: AuditOptions, silent: bool) -> AuditReport:
    errors = Console(stderr=True)
    if silent or not errors.is_terminal:
        return run_audit(paths, options)
    from rich.progress import BarColumn, Progress, TextColumn  # slow to import

    columns = (TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.fields[files]}"))
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("Reading", total=None, visible=False, files="")

        def advance(done: int, total: int) -> None:
            if total < PROGRESS_FROM:
                return
            if done == total:  # what is left has no known length
                bar.update(task, visible=False)
                bar.add_task("Following calls", total=None, files="")
            elif done % 16 == 0:
                bar.update(
                    task, completed=done, total=total, visible=True, files=f"{done:,} of {total:,} files"
                )

        return run_audit(paths, options, advance)


def _print(report: AuditReport, style: str, output: Path | None, console: Console, quiet: bool) -> None:
    renderers = {
        "concise": concise.render,
        "github": github.render,
        "json": as_json.render,
        "sarif": sarif.render,
    }
    if style in renderers:
        text = renderers[style](report)
        if output is not None:
            try:
                output.write_bytes(text.encode("utf-8", "backslashreplace"))
            except OSError as error:
                raise StateGuardError(f"cannot write {output}: {error.strerror or error}") from error
        else:
            sys.stdout.write(text)
            if style in ("concise", "github") and not quiet:
                Console(stderr=True, highlight=False).print(summary.render(report, tables=False))
        return
    if output is not None:
        with output.open("w", encoding="utf-8", errors="backslashreplace") as file:
            _print_full(report, Console(file=file, highlight=False, width=120), quiet)
        return
    _print_full(report, console, quiet)


def _print_full(report: AuditReport, console: Console, quiet: bool) -> None:
    for finding in report.findings:
        console.print(full.render(finding, console))
    if report.missed:
        console.print(full.render_missed(report.missed))
    if not quiet:
        console.print(summary.render(report, tables=True))

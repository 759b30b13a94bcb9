"""Measures ``stateguard audit``: what it finds, what of it is right, how fast; beside ruff, pylint, bandit.

    python -m benchmarks.audit [--site DIRECTORY]

Installs the packages of ``audit_triage.json`` and the linters into a temporary directory (``--site`` keeps
it), audits them, and compares each finding with what was written about it after reading the source. Times are
CPU seconds of one core, the best of three runs taken in turns, and are printed as ratios.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from stateguard.audit import AuditOptions, audit
from stateguard.audit.collect import collect
from stateguard.audit.options import DEFAULT_EXCLUDES

HERE = Path(__file__).parent
FIXTURE = HERE.parent / "tests" / "audit" / "cases" / "eight_leaks"
TRIAGE = json.loads((HERE / "audit_triage.json").read_text())
LINTERS = ("ruff==0.17.6", "pylint==4.1.4", "bandit==1.9.4")
RUFF_RULES = "B006,B019,B039,RUF012,PLW0603"
PYLINT_RULES = "dangerous-default-value,global-statement"


def install(site: Path, linters: list[str]) -> None:
    packages = [f"{name}=={version}" for name, version in TRIAGE["packages"].items()]
    for names, extra in ((packages, ["--no-deps"]), (linters, [])):
        target = site / ("packages" if extra else "linters")
        if not target.exists():
            command = [sys.executable, "-m", "pip", "install", "-q", *extra, "--target", str(target), *names]
            if not pip_here():
                command = ["uv", "pip", "install", "-q", *extra, "--target", str(target), *names]
            subprocess.run(command, check=True, timeout=900)


def pip_here() -> bool:
    return (
        subprocess.run([sys.executable, "-m", "pip", "-V"], capture_output=True, timeout=60).returncode == 0
    )


def linter(site: Path, name: str, *arguments: str) -> tuple[str, float]:
    """The output of a linter and the CPU seconds it took."""
    linters = site / "linters"
    program = [str(linters / "bin" / "ruff")] if name == "ruff" else [sys.executable, "-m", name]
    environment = {**os.environ, "PYTHONPATH": str(linters)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*program, *arguments], capture_output=True, text=True, env=environment, timeout=900
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def linter_findings(site: Path, path: Path) -> dict[str, list[tuple[str, str, int]]]:
    """``(rule, file, line)`` of what each linter says about shared state."""
    ruff, _ = linter(
        site, "ruff", "check", "--isolated", "--no-cache", "--no-respect-gitignore", "--select", RUFF_RULES,
        "--output-format", "json", str(path),
    )  # fmt: skip
    pylint, _ = linter(
        site,
        "pylint",
        "-j1",
        "--disable=all",
        f"--enable={PYLINT_RULES}",
        "-f",
        "json",
        "--recursive=y",
        str(path),
    )
    bandit, _ = linter(site, "bandit", "-q", "-r", "-f", "json", str(path))
    return {
        "ruff": [(d["code"], d["filename"], d["location"]["row"]) for d in json.loads(ruff)],
        "pylint": [(d["message-id"], d["path"], d["line"]) for d in json.loads(pylint or "[]")],
        # bandit has no rule about shared state: everything it says is counted, to be fair to it.
        "bandit": [(d["test_id"], d["filename"], d["line_number"]) for d in json.loads(bandit)["results"]],
    }


# The lines of the fixture, as text, that a tool may point at: the write, the definition, the function.
LEAKS = {
    "list appended": (
        "HISTORY = []",
        "    HISTORY.append(u)",
        "    state.HISTORY.append(u)",
        "def remember(u):",
    ),
    "dict under a constant key": ("SETTINGS = {}", '    SETTINGS["last"] = v', "def setting(v):"),
    "set added to": ("SEEN = set()", "    SEEN.add(u)", "def see(u):"),
    "name rebound by global": (
        "CURRENT = None",
        "    global CURRENT",
        "    CURRENT = u",
        "    state.CURRENT = u",
    ),
    "class attribute's list": ("    items = []", "        self.items.append(x)"),
    "class attribute rebound": ("    current = None", "    Session.current = u", "def set_session(u):"),
    "instance attribute": (
        "agent = Agent()",
        "    agent.messages.append(text)",
        "        self.messages = []",
    ),
    "mutable default": ("def collect(x, acc=[]):", "    acc.append(x)"),
    "attribute from another module": ("    state.CURRENT = u",),
}
HARMLESS = {
    "counter": ('COUNTS = {"requests": 0}', '    COUNTS["requests"] += 1'),
    "lru_cache of a pure function": ("@lru_cache", "def square(n):"),
    "lazily created client": ("_client = None", "    global _client", "        _client = object()"),
}


def line_text(file: str, line: int) -> str:
    lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    text = lines[line - 1] if line <= len(lines) else ""
    return re.sub(r"\s+# (finding|also): .*", "", text)


def fixture(site: Path) -> None:
    found = {"stateguard": set(), **{name: set() for name in ("ruff", "pylint", "bandit")}}
    for one in audit([FIXTURE], AuditOptions(root=FIXTURE)).findings:
        found["stateguard"].update(line_text(str(FIXTURE / w.file), w.line) for w in one.writes)
    for name, rows in linter_findings(site, FIXTURE).items():
        found[name] = {line_text(file, line) for _, file, line in rows}
    print("\nThe fixture of leaks (x: pointed at)\n")
    print(f"{'':36}" + "".join(f"{name:>12}" for name in found))
    for title, table in (("leak", LEAKS), ("harmless", HARMLESS)):
        for what, lines in table.items():
            marks = "".join(f"{'x' if set(lines) & texts else '.':>12}" for texts in found.values())
            print(f"{title + ': ' + what:36}{marks}")
    totals = "".join(
        f"{sum(bool(set(lines) & texts) for lines in LEAKS.values())}/{len(LEAKS)}".rjust(12)
        for texts in found.values()
    )
    print(f"{'leaks found':36}{totals}")


def precision(site: Path) -> None:
    packages = site / "packages"
    verdicts: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("stateguard", "ruff", "pylint", "bandit")}
    print("\nTwelve packages from PyPI\n")
    print(f"{'package':14}{'files':>7}{'lines':>9}{'stateguard':>12}{'ruff':>7}{'pylint':>8}{'bandit':>8}")
    unread = []
    for name in TRIAGE["packages"]:
        report = audit([packages / name], AuditOptions(root=packages))
        for one in report.findings:
            counts["stateguard"][one.rule] += 1
            target = one.target.removeprefix(
                one.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") + "."
            )
            key = f"{one.rule} {one.file} {target}"
            row = TRIAGE["findings"].get(key)
            if row is None:
                unread.append(key)
            verdicts[row[0] if row else "not read"] += 1
        others = linter_findings(site, packages / name)
        for tool, rows in others.items():
            counts[tool].update(rule for rule, file, _ in rows if "/tests/" not in file)
        mine = len(report.findings)
        rest = [
            sum("/tests/" not in file for _, file, _ in others[tool]) for tool in ("ruff", "pylint", "bandit")
        ]
        print(f"{name:14}{report.files:7}{report.lines:9}{mine:12}{rest[0]:7}{rest[1]:8}{rest[2]:8}")
    print("\nBy rule:")
    for tool, rules in counts.items():
        print(f"  {tool:11}", ", ".join(f"{rule} {number}" for rule, number in rules.most_common(8)))
    total = sum(verdicts.values())
    true = verdicts["leak"] + verdicts["shared"]
    print(f"\nRead by hand (benchmarks/audit_triage.json), stateguard: {dict(verdicts)}")
    print(f"  says something true about shared state: {true}/{total} = {true / total:.0%}")
    print(f"  a leak or a hazard for others: {verdicts['leak']}/{total} = {verdicts['leak'] / total:.0%}")
    for rule, row in TRIAGE["linters"].items():
        if rule != "about":
            print(f"  {rule}: read {row['read']}, leaks {row['leak']}, shared {row['shared']} ({row['why']})")
    for key in unread:
        print("  not read yet:", key)


def speed(site: Path) -> None:
    print("\nSpeed, CPU seconds of one core, best of three in turns\n")
    print(f"{'tree':12}{'lines':>9}{'ast.parse':>11}{'audit':>9}{'ratio':>7}{'second run':>12}")
    packages = site / "packages"
    for name in ("starlette", "werkzeug", "django"):
        files = [f.path.read_bytes() for f in collect([packages / name], packages, DEFAULT_EXCLUDES)]
        parse = cold = warm = float("inf")
        lines = 0
        with tempfile.TemporaryDirectory() as directory:
            cached = AuditOptions(root=packages, cache=Path(directory))
            audit([packages / name], cached)
            for _ in range(3):
                started = time.process_time()
                for data in files:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        ast.parse(data)
                parse = min(parse, time.process_time() - started)
                started = time.process_time()
                lines = audit([packages / name], AuditOptions(root=packages)).lines
                cold = min(cold, time.process_time() - started)
                started = time.process_time()
                audit([packages / name], cached)
                warm = min(warm, time.process_time() - started)
        print(f"{name:12}{lines:9}{parse:11.3f}{cold:9.3f}{cold / parse:6.1f}x{warm:12.3f}")
    print("\nAgainst pylint (-j1), the whole command from start to end\n")
    for name in ("starlette", "werkzeug"):
        mine = min(command_seconds(packages / name) for _ in range(3))
        _, few = linter(
            site,
            "pylint",
            "-j1",
            "--disable=all",
            f"--enable={PYLINT_RULES}",
            "--recursive=y",
            str(packages / name),
        )
        _, full = linter(site, "pylint", "-j1", "--recursive=y", str(packages / name))
        print(
            f"{name:12} stateguard {mine:.2f} s; pylint with its two rules {few:.2f} s ({few / mine:.0f}x), "
            f"pylint as it comes {full:.2f} s ({full / mine:.0f}x)"
        )


def command_seconds(path: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "stateguard.cli", "audit", "-q", "-j1", "--no-cache", "--isolated", str(path)],
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--site", type=Path, help="keep the installed packages here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        site = chosen.site or Path(directory)
        site.mkdir(parents=True, exist_ok=True)
        install(site, list(LINTERS))
        fixture(site)
        precision(site)
        speed(site)


if __name__ == "__main__":
    main()

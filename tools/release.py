"""``python -m tools.release dist/``: check what has been built before anybody can install it.

Contents of wheels and sdist, ``twine check``, the wheel that pip would choose here in an environment of its
own for each extra with one thing done that the extra is for, and types as a user's type checkers see them.
Exit code 1 if anything is wrong. Needs the extra ``release``.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.tags import Tag, sys_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "stateguard"

_COMMAND = "from stateguard.commands import stateguard as c; c"
_GUARD = "from stateguard import Guard; Guard(watch=['shop'], report_to="

EXTRAS = {
    "": "import stateguard.asgi, stateguard.wsgi, stateguard.sessions",
    "cli": f"{_COMMAND}(['--version'])",
    "audit": f"{_COMMAND}(['audit', '--quiet', 'shop.py'])",
    "probe": f"{_COMMAND}(['probe', 'shop:app', '-r', 'GET /{{canary}}'])",
    "report": f"{_COMMAND}(['report', '.', '--html', 'page.html'])",
    "redis": "from stateguard.sessions import RedisStore; RedisStore('redis://127.0.0.1:1').close()",
    "cookies": "from stateguard.sessions import SignedCookie; SignedCookie('32 characters nobody guesses')",
    "otel": f"{_GUARD}'otel').close()",
    "prometheus": f"{_GUARD}'prometheus').close()",
    "sentry": f"{_GUARD}'sentry').close()",
}
"""Each extra, and what must work with it and nothing else."""

SHOP = '''
"""An application that leaks nothing."""


async def app(scope, receive, send):
    """Echo the path."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
'''


def sources() -> set[str]:
    """Every file of the package that is not made by running or installing it: the sdist must hold them."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in files
        if path.suffix not in (".so", ".pyd", ".new")
    }


def parts() -> list[str]:
    """The modules that ``hatch_build.py`` compiles. It is read: importing it takes what builds have."""
    for node in ast.parse((ROOT / "hatch_build.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARTS":
            found: list[str] = ast.literal_eval(node.value)
            return found
    raise LookupError("hatch_build.py assigns no PARTS")


def tag_of(wheel: Path) -> Tag:
    """For which Pythons and platforms the wheel says it is: the first of its tags."""
    return min(parse_wheel_filename(wheel.name)[3], key=str)


def check_compiled(wheel: Path, found: set[str]) -> list[str]:
    """Complaints about compiled files: none in a pure wheel, else every part, once, for its Python."""
    compiled = {name for name in found if name.endswith((".so", ".pyd"))}
    tag = tag_of(wheel)
    complaints = []
    if tag.platform != "any":
        version = re.escape(tag.interpreter.removeprefix("cp"))
        for part in parts():
            name = re.compile(rf"{part.replace('.', '/')}\.(cpython-|cp){version}-[\w-]+\.(so|pyd)")
            right = {each for each in compiled if name.fullmatch(each)}
            if len(right) != 1:
                complaints.append(f"{wheel.name} has {sorted(right) or 'nothing'} for {part}")
            compiled -= right
    return complaints + [f"{wheel.name} has {name}, which it must not" for name in sorted(compiled)]


def check_wheel(wheel: Path) -> list[str]:
    """Complaints about files that are missing or do not belong."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.partition("/")[2] for name in archive.namelist() if ".dist-info/" in name}
    expected = {name for name in sources() if not name.endswith((".c", ".h"))}
    complaints = [f"{wheel.name} lacks {name}" for name in sorted(expected - found)]
    others = {name for name in found - expected if not name.endswith((".so", ".pyd"))}
    complaints += [f"{wheel.name} has {name}, which is not a source" for name in sorted(others)]
    complaints += check_compiled(wheel, found)
    needed = {"METADATA", "entry_points.txt", "licenses/LICENSE"}
    complaints += [f"the metadata of {wheel.name} lacks {name}" for name in sorted(needed - metadata)]
    return complaints


def check_sdist(sdist: Path) -> list[str]:
    """Complaints about files that are missing or do not belong."""
    complaints = []
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for needed_file in (
        *("LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "pyproject.toml"),
        *("mkdocs.yml", "tests/public_api.py", "docs/index.md", "tools/release.py", "hatch_build.py"),
        *(f"src/{name}" for name in sources()),
    ):
        if needed_file not in inside:
            complaints.append(f"the sdist lacks {needed_file}")
    made = re.compile(r"__pycache__|\.(pyc|so|pyd|new)$")
    return complaints + [f"the sdist has {name}" for name in sorted(inside) if made.search(name)]


def check_versions(wheels: list[Path], sdist: Path) -> list[str]:
    """Complaints about archives that do not carry the version of the package."""
    version = re.search(r'^__version__ = "(.+)"', (PACKAGE / "_version.py").read_text("utf-8"), re.MULTILINE)
    assert version
    wrong = [wheel.name for wheel in wheels if f"-{version[1]}-" not in wheel.name]
    wrong += [] if f"-{version[1]}.tar" in sdist.name else [sdist.name]
    return [f"{name} does not carry the version of _version.py" for name in wrong]


def chosen(wheels: list[Path]) -> Path:
    """The one that pip would choose for this interpreter: the first tag in the order that packaging gives."""
    order = {tag: rank for rank, tag in enumerate(sys_tags())}
    return min(wheels, key=lambda wheel: order.get(tag_of(wheel), len(order)))


def run(command: list[str], directory: Path, **environment: str) -> tuple[int, str]:
    """Exit code and output, within five minutes."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def install(home: Path, *packages: str) -> list[str]:
    """An empty environment with ``packages``; complaints if that fails. This Python's pip does the work."""
    run([sys.executable, "-m", "venv", "--without-pip", str(home)], home.parent)
    python = str(home / "bin" / "python")
    code, output = run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", *packages], home.parent
    )
    return [f"pip install {' '.join(packages)}: {output}"] if code else []


def check_extra(wheel: Path, extra: str, work: Path) -> list[str]:
    """Complaints about the wheel with one extra and nothing else."""
    home = work / f"env-{extra or 'bare'}"
    complaints = install(home, f"{wheel}[{extra}]" if extra else str(wheel))
    if complaints:
        return complaints
    code, output = run(
        [str(home / "bin" / "python"), "-W", "error", "-c", EXTRAS[extra]], work, PYTHONPATH="."
    )
    return [f"with the extra {extra or '(none)'}: {EXTRAS[extra]}\n{output}"] if code else []


def check_types(wheel: Path, work: Path) -> list[str]:
    """Complaints of pyright: unknown types in what the package exports, and errors in tests/public_api.py."""
    home = work / "env-types"
    complaints = install(
        home, f"{wheel}[audit,probe,report,redis,cookies]", "flask", "celery", "django", "mcp"
    )
    if complaints:
        return complaints
    path = os.pathsep.join([str(home / "bin"), os.environ.get("PATH", "")])
    pyright = [sys.executable, "-m", "pyright", "--outputjson"]
    inside = {"PATH": path, "VIRTUAL_ENV": str(home), "PYENV_VERSION": ""}
    _, output = run([*pyright, "--ignoreexternal", "--verifytypes", "stateguard"], work, **inside)
    symbols = json.loads(output[output.index("{") :])["typeCompleteness"]["symbols"]
    exported = [symbol for symbol in symbols if symbol["isExported"]]
    unknown = [s["name"] for s in exported if not s["isTypeKnown"] and not s["isTypeAmbiguous"]]
    # Celery and Django ship no types: classes derived from theirs cannot be known.
    untyped = ("stateguard.integrations.celery", "stateguard.integrations.django")
    complaints = [
        f"pyright does not know the type of {name}" for name in unknown if not name.startswith(untyped)
    ]
    if len(exported) < 1000:
        complaints.append(
            f"pyright has found only {len(exported)} names in the package: it did not look at it"
        )
    (work / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', "utf-8")
    (work / "public_api.py").write_text((ROOT / "tests" / "public_api.py").read_text("utf-8"), "utf-8")
    _, output = run([*pyright, "public_api.py"], work, **inside)
    for each in json.loads(output[output.index("{") :])["generalDiagnostics"]:
        if each["severity"] == "error":
            complaints.append(f"tests/public_api.py:{each['range']['start']['line'] + 1}: {each['message']}")
    return complaints


def main() -> int:
    """Check the wheels and the sdist of one release."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("dist", type=Path, help="the directory that holds one or more wheels and one sdist")
    dist = parser.parse_args().dist.resolve()
    wheels, [sdist] = sorted(dist.glob("*.whl")), dist.glob("*.tar.gz")
    wheel = chosen(wheels)
    complaints = check_versions(wheels, sdist) + check_sdist(sdist)
    complaints += [complaint for each in wheels for complaint in check_wheel(each)]
    archives = [str(path) for path in (*wheels, sdist)]
    code, output = run([sys.executable, "-m", "twine", "check", "--strict", *archives], dist)
    complaints += [output] if code else []
    with tempfile.TemporaryDirectory(prefix="stateguard-release-") as directory:
        work = Path(directory)
        (work / "shop.py").write_text(SHOP, "utf-8")
        with ThreadPoolExecutor(3) as pool:  # mostly waiting, for pip and for pyright
            checks = [pool.submit(check_types, wheel, work)]
            checks += [pool.submit(check_extra, wheel, extra, work) for extra in EXTRAS]
            complaints += [complaint for check in checks for complaint in check.result()]
    for complaint in complaints:
        print(complaint)
    archived = ", ".join(path.name for path in (*wheels, sdist))
    print(f"   {len(EXTRAS)} environments with {wheel.name}, {len(complaints)} complaints about {archived}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

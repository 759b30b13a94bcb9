"""What is built with a compiler, without one, and beside what others have built: ``hatch_build.py`` for real.

On a machine without a compiler the wheels are pure, and what follows is tested of those.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tools.release import check_compiled, check_wheel, chosen, parts

BUILD = "import sys; from hatchling import build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
LACKING = "stateguard is built without its compiled parts"


@pytest.fixture
def tree(tmp_path):
    """What a build needs, without what has been compiled here."""
    made = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "*.new")
    shutil.copytree(ROOT / "src", tmp_path / "tree/src", ignore=made)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def compiles(hook, tmp_path_factory):
    """Whether this machine and this interpreter can."""
    try:
        return hook.possible() and bool(hook.compile_parts(ROOT, tmp_path_factory.mktemp("compiled")))
    except hook.NotCompiled:
        return False


def unmeasured():
    """The environment, but nobody measures coverage of a tree that will be gone."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}


def attempt(tree, kind="build_wheel", **environment):
    usual = {"STATEGUARD_PURE": "", "STATEGUARD_COMPILE": "", "SOURCE_DATE_EPOCH": "1700000000"}
    (tree / "dist").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", BUILD, kind, "dist"],
        cwd=tree,
        env={**unmeasured(), **usual, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )


def build(tree, kind="build_wheel", **environment):
    """The wheel, and what was said before its name."""
    done = attempt(tree, kind, **environment)
    assert done.returncode == 0, done.stdout
    *said, name = done.stdout.strip().splitlines()
    return tree / "dist" / name, "\n".join(said)


def compiled_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return sorted(name for name in archive.namelist() if name.endswith((".so", ".pyd")))


def compiled_beside(tree):
    found = (tree / "src").rglob("*")
    return sorted(path.relative_to(tree / "src").as_posix() for path in found if SUFFIX in path.name)


def names(hook):
    return sorted(place.as_posix() for place in hook.places())


def test_every_c_file_is_of_one_part_which_has_its_types(hook, monkeypatch):
    assert parts() == hook.PARTS
    monkeypatch.chdir(ROOT)
    compiled = [source for part in hook.PARTS for source in hook.sources(part)]
    assert sorted(compiled) == sorted(str(path) for path in Path("src").rglob("*.c"))
    for part in hook.PARTS:
        assert ROOT.joinpath("src", *part.split(".")).with_suffix(".pyi").is_file()


def test_a_wheel_has_the_parts_of_its_own_python_and_nothing_that_lay_about(tree, hook, compiles):
    for part in hook.PARTS:
        place = tree.joinpath("src", *part.split("."))
        place.with_suffix(".cpython-399-x86_64-linux-gnu.so").write_bytes(b"of another Python")
        place.with_suffix(SUFFIX).write_bytes(b"of an editable installation")
    wheel, said = build(tree)
    assert compiled_in(wheel) == (names(hook) if compiles else [])
    assert check_wheel(wheel) == []
    if compiles:
        assert not said
        assert "-none-any" not in wheel.name
        with zipfile.ZipFile(wheel) as archive:
            assert {archive.getinfo(name).file_size for name in compiled_in(wheel)}.isdisjoint({17, 27})
    pure, said = build(tree, STATEGUARD_PURE="1")
    assert pure.name.endswith("-py3-none-any.whl")
    assert not said
    assert check_wheel(pure) == []
    assert chosen([pure, wheel]) == wheel


def test_what_cannot_be_compiled_is_left_out_and_said(tree, compiles, hook):
    wheel, said = build(tree, CC="no-such-compiler")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert compiled_in(wheel) == []
    if hook.possible():
        assert LACKING in said
        assert "no-such-compiler" in said
        tree.joinpath("src", *hook.PARTS[-1].split(".")).with_suffix(".c").write_text("#error it is broken\n")
        wheel, said = build(tree)
        assert wheel.name.endswith("-py3-none-any.whl")
        assert LACKING in said
        assert not compiles or "it is broken" in said
        refused = attempt(tree, STATEGUARD_COMPILE="1")
        assert refused.returncode
        assert "NotCompiled" in refused.stdout


def test_editable_installations_into_one_tree_do_each_other_no_harm(tree, hook, compiles):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(build, [tree] * 3, ["build_editable"] * 3))
    assert compiled_beside(tree) == (names(hook) if compiles else [])
    program = "from stateguard.watch import compare; print(compare.COMPILED, compare.__file__)"
    environment = {**unmeasured(), "STATEGUARD_PURE": "", "PYTHONPATH": str(tree / "src")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == f"{compiles} {tree / 'src/stateguard/watch/compare.py'}", done.stderr
    # What an older source was compiled to must not stay where the newer one was not.
    build(tree, "build_editable", STATEGUARD_PURE="1")
    assert compiled_beside(tree) == []


def test_no_compiler_warns(hook, compiles, monkeypatch, tmp_path):
    if compiles and os.name == "posix":
        monkeypatch.setenv("CFLAGS", "-Wall -Wextra -Werror")
        assert sorted(map(Path.as_posix, hook.compile_parts(ROOT, tmp_path))) == names(hook)


def test_a_wheel_that_lacks_a_part_or_has_one_of_another_python_is_complained_about():
    places = [part.replace(".", "/") for part in parts()]

    def complaints(tag, *suffixes):
        wheel = Path(f"stateguard_middleware-1.0-{tag}.whl")
        return len(check_compiled(wheel, {place + suffix for place in places for suffix in suffixes}))

    n = len(places)
    linux, mac, windows = "cp313-cp313-linux_x86_64", "cp313-cp313-macosx_14_0_arm64", "cp313-cp313-win_amd64"
    right, other = ".cpython-313-x86_64-linux-gnu.so", ".cpython-311-x86_64-linux-gnu.so"
    assert complaints(linux, right) == 0
    assert complaints("cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", right) == 0
    assert complaints(mac, ".cpython-313-darwin.so") == 0
    assert complaints(windows, ".cp313-win_amd64.pyd") == 0
    assert complaints("py3-none-any") == 0
    assert complaints(linux) == n
    assert complaints(linux, right, other) == n
    assert complaints(linux, other) == 2 * n
    assert complaints(linux, ".cpython-313t-x86_64-linux-gnu.so") == 2 * n
    assert complaints("py3-none-any", right) == n

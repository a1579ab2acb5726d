"""What a glance at the house can check, so that nobody has to."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workshop.conftest import REAL

LONGEST = 400
SHEBANG = re.compile(rb"#!.*\b(sh|bash)\b")


def files() -> list[Path]:
    """Every file that is in git or would be, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REAL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git work tree")
    return [REAL / name for name in listed.stdout.decode().split("\0") if name and (REAL / name).is_file()]


def python() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


def test_no_python_file_is_longer_than_a_person_reads() -> None:
    long = {str(p.relative_to(REAL)): n for p in python() if (n := len(p.read_text().splitlines())) > LONGEST}
    assert not long


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("room", ["hostctl", "tools"])
def test_a_room_that_needs_the_standard_library_only(room: str) -> None:
    """hostctl runs on a bare server; the tools start before .venv is there."""
    # tools: what .venv holds is imported where it is used, after the install (TYPE_CHECKING costs nothing).
    own = {"hostctl"} if room == "hostctl" else {path.stem for path in (REAL / "tools").glob("*.py")}
    for path in (REAL / room).rglob("*.py"):
        tree = ast.parse(path.read_text())
        if room == "tools":
            tree = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        roots = {name.split(".")[0] for name in imports(tree)} - own - sys.stdlib_module_names
        if path.name == "get_pulumi.py":
            roots -= {"pulumi"}  # it is the SDK's own installer
        assert not roots, path


def test_no_command_goes_through_a_shell() -> None:
    for path in python():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                assert not any(
                    word.arg == "shell" and isinstance(word.value, ast.Constant) and word.value.value
                    for word in node.keywords
                ), f"{path}:{node.lineno}: shell=True"


def is_shell_script(path: Path) -> bool:
    with path.open("rb") as file:
        return SHEBANG.match(file.readline()) is not None


def test_shell_scripts_stop_at_an_error_and_can_be_run() -> None:
    for path in files():
        if is_shell_script(path) and "tests" not in path.parts:
            assert re.search(r"^set -[a-z]*e", path.read_text(), re.MULTILINE), f"{path}: no `set -e`"
            assert os.access(path, os.X_OK), f"{path}: not executable"


def test_check_looks_at_every_shell_script() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "-s", "-f", "-", "show"],
        cwd=REAL,
        input="include Makefile\nshow:\n\t@echo $(SHELL_SCRIPTS)\n",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    scripts = {str(path.relative_to(REAL)) for path in files() if path.suffix == ".sh" or is_shell_script(path)}
    assert {name for name in scripts if not name.startswith("tests/")} == set(listed)

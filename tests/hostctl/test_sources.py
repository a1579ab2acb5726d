"""hostctl runs on whatever Python 3.8 a server has, with nothing installed."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hostctl import RUNTIMES, pack, runtime

SOURCES = sorted(pack.HERE.glob("*.py"))
# Came after 3.8, whatever the grammar says.
TOO_NEW = {"removeprefix", "removesuffix", "is_relative_to", "with_stem", "hardlink_to", "to_thread"}
BUILTINS = {"dict", "list", "set", "tuple", "type", "frozenset"}
OLD_PYTHONS = ["3.8", "3.9", "3.10"]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), path.name, feature_version=(3, 8))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_grammar_is_that_of_3_8(path: Path) -> None:
    tree = tree_of(path)
    assert path.name == "__init__.py" or "from __future__ import annotations" in path.read_text()
    for annotated in [node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.arg | ast.FunctionDef)]:
        for name in ("annotation", "returns"):
            if getattr(annotated, name, None) is not None:
                setattr(annotated, name, ast.Constant(None))  # never evaluated
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in BUILTINS, f"line {node.lineno}: {node.value.id}[…] is evaluated"
        if isinstance(node, ast.Attribute):
            assert node.attr not in TOO_NEW, f"line {node.lineno}: {node.attr} came after 3.8"
        if isinstance(node, ast.keyword):
            assert node.arg not in ("umask", "slots", "kw_only"), f"{node.arg}= came after 3.8"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_the_standard_library_is_imported(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in names:
            top = name.split(".")[0]
            assert top == "hostctl" or top in sys.stdlib_module_names, f"line {node.lineno}: {name}"


def test_no_file_is_long() -> None:
    assert [path.name for path in SOURCES if len(path.read_text().splitlines()) >= 400] == []


def test_the_runtimes_that_it_says_it_has() -> None:
    assert set(RUNTIMES) == set(runtime._RUNTIMES)


@pytest.mark.parametrize("version", OLD_PYTHONS)
def test_an_old_python_loads_all_of_it(version: str, tmp_path: Path) -> None:
    python = old_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (tmp_path / "hostctl.pyz").write_bytes(pack.pack())
    load = (
        "import sys, pkgutil, importlib; sys.path.insert(0, sys.argv[1]); import hostctl; "
        "[importlib.import_module('hostctl.' + module.name) for module in pkgutil.iter_modules(hostctl.__path__)]; "
        "import typing; from hostctl import definitions, generations, queue; "
        "[typing.get_type_hints(kind) for kind in (definitions.ServiceDefinition, generations.Record, queue.Result)]"
    )
    subprocess.run([python, "-IS", "-c", load, tmp_path / "hostctl.pyz"], check=True, timeout=60)


def old_python(version: str) -> str | None:
    """One that really is of that version: pyenv's shims are there for versions that aren't chosen."""
    candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for candidate in filter(None, candidates):
        done = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and done.stdout.startswith(f"{version}."):
            return str(candidate)
    return None

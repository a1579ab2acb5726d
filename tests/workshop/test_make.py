"""The Makefile: what it lists, and that it hands values over without reading them."""

from __future__ import annotations

import re

import pytest

from tests.workshop.conftest import REAL, Project

MAKEFILE = (REAL / "Makefile").read_text()


def test_help_is_the_default_and_lists_every_target_and_stack(project: Project) -> None:
    done = project.run("make")
    assert done.returncode == 0, done.stderr
    listed = set(re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE))
    (declared,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert listed == set(declared.split())
    assert "STACK=local (default), tencent;" in done.stdout


def test_every_target_says_what_it_does() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z][a-z-]*):.*## \S", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("verb", ["up", "preview", "destroy", "outputs"])
def test_a_verb_runs_the_engine_on_local_unless_told_otherwise(installed: Project, verb: str) -> None:
    assert installed.run("make", verb).returncode == 0
    assert installed.run("make", verb, "STACK=tencent").returncode == 0
    assert [call["argv"][:3] for call in installed.calls("standalone")] == [
        [verb, "--stack", "local"],
        [verb, "--stack", "tencent"],
    ]


def test_a_failure_fails_make(installed: Project) -> None:
    assert installed.run("make", "up", FAKE_EXIT="1").returncode != 0


@pytest.mark.parametrize("name", ["STACK", "ENGINE"])
@pytest.mark.parametrize("value", ["x; touch hacked", "$$(touch hacked)", "`touch hacked`"])
def test_no_value_is_read_by_a_shell(installed: Project, name: str, value: str) -> None:
    assert installed.run("make", "up", f"{name}={value}").returncode != 0
    assert not (installed.folder / "hacked").exists()


def test_a_shell_that_forbids_bytecode_does_not_slow_us_down(installed: Project) -> None:
    installed.run("make", "up", PYTHONDONTWRITEBYTECODE="1")
    assert list((installed.folder / "standalone").glob("__pycache__/*"))


def test_clean_keeps_environments_and_their_state(installed: Project) -> None:
    kept = [".local/data/x", ".state/x", ".standalone/x", ".venv/__pycache__/x", ".local/__pycache__/x"]
    gone = ["tools/__pycache__/x", "build/x", ".pytest_cache/x"]
    for name in (*kept, *gone):
        path = installed.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert installed.run("make", "clean").returncode == 0
    there = {name for name in (*kept, *gone) if (installed.folder / name).exists()}
    assert there == set(kept)


def test_the_targets_of_ci_exist() -> None:
    ci = (REAL / ".ci" / "run").read_text()
    targets = set(re.findall(r"make (?:--[a-z-]+ )*([a-z]+)", ci))
    assert targets <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))

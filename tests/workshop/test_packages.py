"""One list says what tests need; `make test` and CI install it, and neither fails where nothing can be installed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests import packages
from tests.workshop.conftest import REAL


class Debian:
    """A machine on which root may install: what apt-get was asked for, and what is there afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, there: set[str], unknown: str = "") -> None:
        self.there, self.unknown, self.asked = there, unknown, list[list[str]]()
        monkeypatch.setattr(packages, "program", lambda name: name if name in self.there else None)
        monkeypatch.setattr(packages, "why_not", lambda: None)
        monkeypatch.setattr(packages, "_apt", self._apt)

    def _apt(self, command: list[str], _: Any) -> str | None:
        if command[1] == "update":
            return None
        wanted = command[command.index("DPkg::Lock::Timeout=300") + 1 :]
        self.asked.append(wanted)
        if self.unknown in wanted:
            return f"apt-get install failed: E: Unable to locate package {self.unknown}"
        self.there |= {name for name, package in packages.EVERYTHING.items() if package in wanted}
        return None


@pytest.fixture(autouse=True)
def _no_hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(packages, "LOCK", tmp_path / "lock")


def test_a_fresh_machine_gets_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    debian = Debian(monkeypatch, set())
    assert packages.main() == 0
    assert [sorted(words) for words in debian.asked] == [sorted(set(packages.EVERYTHING.values()))]
    assert packages.main() == 0
    assert len(debian.asked) == 1  # a second time there is nothing to do


def test_a_package_that_a_release_lacks_takes_no_other_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    debian = Debian(monkeypatch, set(), unknown="docker-registry")
    assert packages.main() == 1
    assert debian.there == set(packages.EVERYTHING) - {"docker-registry"}
    said = capsys.readouterr().err
    assert "Unable to locate package docker-registry" in said
    assert said.count("docker-registry") == 1


def test_where_nothing_can_be_installed_it_is_said_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    debian = Debian(monkeypatch, set(packages.EVERYTHING) - {"zsh"})
    monkeypatch.setattr(packages, "why_not", lambda: "only root can install them")
    assert packages.main() == 0
    assert debian.asked == []
    said = capsys.readouterr().err
    assert "zsh not installed, and only root can install them; the tests that need them say so" in said


@pytest.mark.parametrize(
    "needs", [packages.LAB, packages.DATABASES, packages.SSHD, packages.NAMESPACES, packages.REGISTRY, packages.DOCKER]
)
def test_what_a_fixture_needs_is_on_the_list(needs: dict[str, str]) -> None:
    assert needs.items() <= packages.EVERYTHING.items()


def test_ci_and_make_test_take_the_list_from_here() -> None:
    ci, makefile = (REAL / ".ci/run").read_text(), (REAL / "Makefile").read_text()
    assert "-m tests.packages" in ci
    for target in ("test", "soak"):
        recipe = makefile.partition(f"\n{target}: ")[2].partition("\n\n")[0]
        assert recipe.index("-m tests.packages") < recipe.index("-m pytest")
    long_names = [name for name in packages.EVERYTHING.values() if "-" in name]
    assert not [name for name in long_names if name in ci]


def test_the_systems_own_python_runs_it() -> None:
    """Before anything is installed: without any site-packages."""
    words = [sys.executable, "-S", "-c", "import tests.packages"]
    subprocess.run(words, cwd=REAL, check=True, timeout=60)

"""The count by tier: what ran, what did not and why, and that nothing at all is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workshop.conftest import REAL

INI = """\
[pytest]
addopts = -p tests.tiers
markers =
    host: a host
    engine: an engine
    bench: a benchmark
"""
PLAIN = "def test_a():\n    pass\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for folder in ("plan", "host", "engine", "bench"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / f"test_{folder}.py").write_text(PLAIN)
    shutil.copy(REAL / "tests" / "tiers.py", tmp_path / "tests" / "tiers.py")
    (tmp_path / "pytest.ini").write_text(INI)
    return tmp_path


def run(suite: Path, *arguments: str, pulumi: bool = False) -> tuple[int, list[str]]:
    programs = suite / "bin"
    programs.mkdir(exist_ok=True)
    if pulumi:
        (programs / "pulumi").symlink_to("/bin/true")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=suite,
        env={**os.environ, "PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_each_tier_is_counted_and_the_closing_line_is_pytests(suite: Path) -> None:
    code, lines = run(suite, "--all-tiers", pulumi=True)
    assert code == 0, lines
    start = next(i for i, line in enumerate(lines) if " tiers " in line)
    assert lines[start + 1 : start + 5] == ["unit     1 ran", "host     1 ran", "engine   1 ran", "bench    1 ran"]
    assert lines[-1].startswith("4 passed in ")


def test_without_a_cli_the_engine_tier_says_why_it_did_not_run(suite: Path) -> None:
    code, lines = run(suite, "--all-tiers")
    assert code == 0
    assert "engine   not run, 1 test: no `pulumi` on PATH" in lines
    assert lines[-1].startswith("3 passed, 1 skipped in ")


def test_a_skipped_test_is_one_that_did_not_run(suite: Path) -> None:
    skips = "import pytest\ndef test_b():\n    pytest.skip('no sshd')\n"
    (suite / "tests" / "host" / "test_host.py").write_text(skips)
    (suite / "tests" / "plan" / "test_more.py").write_text(skips + PLAIN)
    _, lines = run(suite)
    assert "host     not run, 1 test: no sshd" in lines
    assert "unit     2 ran; 1 not run: no sshd" in lines


def test_a_marker_counts_before_the_folder(suite: Path) -> None:
    (suite / "tests" / "plan" / "test_plan.py").write_text("import pytest\npytestmark = pytest.mark.host\n" + PLAIN)
    _, lines = run(suite)
    assert "host     2 ran" in lines


def test_failures_are_counted_in_their_tier(suite: Path) -> None:
    fixture = "import pytest\n@pytest.fixture\ndef x():\n    assert 0\n"
    broken = fixture + "def test_c(x):\n    pass\ndef test_d():\n    assert 0\n"
    (suite / "tests" / "plan" / "test_plan.py").write_text(broken)
    code, lines = run(suite)
    assert code == 1
    assert "unit     2 ran, 2 of them failed" in lines


@pytest.mark.parametrize("tier", ["plan", "host", "bench"])
def test_a_tier_without_a_test_fails_the_run(suite: Path, tier: str) -> None:
    (suite / "tests" / tier / f"test_{tier}.py").unlink()
    code, lines = run(suite, "--all-tiers")
    assert code == 1
    assert f"FAILED: no test was collected for {'unit' if tier == 'plan' else tier}" in lines
    assert run(suite)[0] == 0


def test_an_engine_tier_without_a_test_fails_only_where_it_could_run(suite: Path) -> None:
    (suite / "tests" / "engine" / "test_engine.py").unlink()
    assert run(suite, "--all-tiers")[0] == 0
    assert run(suite, "--all-tiers", pulumi=True)[0] == 1


def test_a_part_of_the_suite_is_not_asked_for_all_tiers(suite: Path) -> None:
    code, lines = run(suite, "tests/plan")
    assert code == 0
    assert [line for line in lines if line.endswith(" ran")] == ["unit     1 ran"]

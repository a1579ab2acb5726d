"""How docker-compose is run: it survives us, and holds the host's lock as long as it works."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hostctl.compose_command import Compose, reason_of
from hostctl.errors import HostctlError
from hostctl.layout import Layout
from hostctl.lock import HostLock


def program(folder: Path, text: str) -> None:
    path = folder / "docker-compose"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    Layout(str(tmp_path / "root")).make()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def compose(place: Path, lock: int | None = None) -> Compose:
    return Compose(place / "root", place / "root" / "run", lock)


def test_the_documented_command_in_the_documented_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(place / "bin", 'echo "$PWD: $*" >../said; env | cut -d= -f1 | sort >../env')
    os.environ["SECRET_OF_OURS"] = "x"
    try:
        assert compose(place).up("c.yml", ["a", "b"]) == ""
    finally:
        del os.environ["SECRET_OF_OURS"]
    assert (place / "said").read_text() == f"{place}/root: -f c.yml up -d --no-deps a b\n"
    assert "SECRET_OF_OURS" not in (place / "env").read_text()
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1/docker.sock")
    program(place / "bin", "echo $DOCKER_HOST >../daemon")
    assert compose(place).up("c.yml", ["a"]) == ""
    assert (place / "daemon").read_text() == "unix:///run/user/1/docker.sock\n"  # the one that hostctl asks
    assert list((place / "root" / "run").iterdir()) == []


@pytest.mark.parametrize(
    "head", ["#!/bin/sh\n# Made by hostctl of blockchain-dao\n", '#!/bin/sh\n# exec docker compose "$@"\n']
)
def test_v2_gets_no_flag_that_changes_what_it_makes_of_the_file(place: Path, head: str) -> None:  # P7
    path = place / "bin" / "docker-compose"
    path.write_text(head + 'echo "$*" >../said\n')
    path.chmod(0o755)
    assert compose(place).up("c.yml", ["a"]) == ""
    assert (place / "said").read_text() == "-f c.yml up -d a\n"


def test_its_own_words_are_the_reason(place: Path) -> None:
    program(place / "bin", 'echo "Creating x ... error"; echo "ERROR: for x  port is taken" >&2; exit 1')
    assert compose(place).up("c.yml", ["x"]) == "ERROR: for x port is taken"
    program(place / "bin", "exit 7")
    assert compose(place).problem("c.yml") == "exit code 7 of docker-compose"


def test_without_compose_it_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place / "bin"))
    with pytest.raises(HostctlError, match="there is no docker-compose on this host"):
        compose(place).up("c.yml", [])


KILLED = """
import sys
from pathlib import Path
from hostctl.compose_command import Compose
from hostctl.layout import Layout
from hostctl.lock import HostLock
layout = Layout(sys.argv[1])
lock = HostLock(layout, "test")
assert lock.try_acquire()
Compose(layout.root, layout.run, lock.descriptor).up("c.yml", ["x"])
"""


def test_killing_us_frees_the_lock_only_when_compose_is_done(place: Path) -> None:
    program(place / "bin", "touch ../begun; sleep 1; echo many; echo words; touch ../done")
    ours = subprocess.Popen([sys.executable, "-c", KILLED, place / "root"], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 20
    while not (place / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ours.kill()
    ours.wait()
    lock = HostLock(Layout(str(place / "root")), "next")
    assert not lock.try_acquire()  # compose has it
    while not lock.try_acquire():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (place / "done").exists()  # its words went nowhere, and it did not stumble over that


def test_progress_is_no_reason() -> None:
    said = "Recreating a_1 ... \r\nRecreating a_1 ... error\r\n\r\nERROR: for a_1  no\n"
    said += "ERROR: for a_1  no\nEncountered errors"
    assert reason_of(said) == "ERROR: for a_1 no; Encountered errors"

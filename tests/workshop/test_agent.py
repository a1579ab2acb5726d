"""`SSH_KEY_FILE=…`: an ssh-agent with that key for one command, gone with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.workshop.conftest import Project

pytestmark = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="no `ssh-agent` on PATH")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "a key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of-the-test", "-f", path], check=True)
    return path


def gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            time.sleep(0.05)
            continue
        return True
    return False


def test_without_a_key_file_the_command_just_runs(project: Project) -> None:
    done = project.run("tools/with-agent.sh", "sh", "-c", 'echo "${SSH_AUTH_SOCK-none}"; exit 3')
    assert (done.stdout, done.returncode) == ("none\n", 3)


def test_the_command_has_the_key_and_the_agent_goes_with_it(project: Project, key: Path) -> None:
    command = 'ssh-add -l; echo "$SSH_AGENT_PID"; echo "$1"; exit 3'
    done = project.run("tools/with-agent.sh", "sh", "-c", command, "sh", "an argument", SSH_KEY_FILE=str(key))
    held, pid, argument = done.stdout.splitlines()
    assert "of-the-test" in held
    assert argument == "an argument"
    assert done.returncode == 3
    assert gone(int(pid), 2)


def test_a_tilde_is_the_home_folder(project: Project, key: Path) -> None:
    done = project.run("tools/with-agent.sh", "ssh-add", "-l", SSH_KEY_FILE=f"~/{key.name}")
    assert "of-the-test" in done.stdout, done.stderr


SOAK = pytest.mark.skipif(not os.environ.get("SOAK"), reason="SOAK=1 runs it: ssh-agent looks every 10 s")


@pytest.mark.parametrize(("sent", "seconds"), [(signal.SIGINT, 3), pytest.param(signal.SIGKILL, 25, marks=SOAK)])
def test_however_the_command_ends(project: Project, key: Path, sent: signal.Signals, seconds: float) -> None:
    process = subprocess.Popen(
        ["tools/with-agent.sh", "sh", "-c", 'echo "$SSH_AGENT_PID"; exec sleep 60'],
        cwd=project.folder,
        env={**project.env, "SSH_KEY_FILE": str(key)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    agent = int(process.stdout.readline())
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)
    else:
        process.kill()
    try:
        assert process.wait(timeout=10) != 0
        assert gone(agent, seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_file_that_is_no_key(project: Project, tmp_path: Path) -> None:
    for path, words in ((tmp_path / "nowhere", "can't be read"), (project.folder / "Makefile", "ssh-add can't use")):
        done = project.run("tools/with-agent.sh", "echo", "ran", SSH_KEY_FILE=str(path))
        assert done.returncode == 1
        assert words in done.stderr
        assert "ran" not in done.stdout

"""A copy of the project that drives a lab's server, and where the lab's tests run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lab as lab_tool
from tests.lab import machine
from tests.lab.host import LabHost
from tests.lab.lab import LABEL, Lab, name_of, remove_orphans
from tests.lab.machine import docker
from tests.lab.program import ServerProgram
from tests.program_copy import REPOSITORY

pytestmark = [pytest.mark.host, pytest.mark.timeout(150)]


def test_a_stack_leads_to_the_labs_server(tmp_path: Path, tencent: LabHost, alibaba: LabHost) -> None:
    for stack, host in (("tencent", tencent), ("alibaba", alibaba)):
        program = ServerProgram(tmp_path / stack, stack, host).make()
        program.set_secret("mysql", "hunter2-of-the-lab")
        stack_file = (program.folder / f"Pulumi.{stack}.yaml").read_text()
        assert host.address in stack_file
        assert host.host_key in stack_file
        assert "hunter2" not in stack_file
        said, connections = program.measured("preview", SSH_AUTH_SOCK="/no/such")
        assert connections == 0, "without an agent nobody gets in"
        assert "hunter2" not in said.stdout + said.stderr + program.state_text()
        assert program.changes()["identity-service"] == "create"
        over = ["components/scripts/over-ssh.sh", host.address, "22", "root", host.host_key, "hostname"]
        before = host.ssh_connections()
        assert program.call(over).stdout == f"{stack}\n"
        assert host.ssh_connections() == before + 1
        with host.delayed(80) as port:
            program.reach(host.gateway, port)
            far = [over[0], host.gateway, str(port), *over[3:]]
            assert program.call(far).stdout == f"{stack}\n"
        assert host.gateway in (program.folder / f"Pulumi.{stack}.yaml").read_text()
        assert program.call(over, code=255, **host.agent_env(wrong=True)).stdout == ""


def test_a_verb_that_a_test_ends_itself(tmp_path: Path, tencent: LabHost) -> None:
    program = ServerProgram(tmp_path / "copy", "tencent", tencent).make()
    process = program.start("preview")
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()


def test_a_killed_sessions_lab_is_removed_by_the_next(lab: Lab) -> None:
    script = "import time; from tests.lab.lab import Lab; print(Lab().name, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        name = session.stdout.readline().strip()
        find = ("network", "ls", "-q", "--filter", f"label={LABEL}={name}")
        remove_orphans()
        assert docker(*find), "its session lives"
        session.kill()
        session.wait(20)
    remove_orphans()
    assert not docker(*find)


def test_where_there_can_be_no_lab_its_tests_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, reason in (
        ("geteuid", "the lab's servers need root (Docker, mounts)"),
        ("platform", "the lab's servers need a Linux machine"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(*((os, "geteuid", lambda: 1000) if name == "geteuid" else (sys, "platform", "darwin")))
            assert machine.why_not.__wrapped__() == reason
    with monkeypatch.context() as patch:
        patch.setattr(machine, "answers", lambda: False)
        patch.setattr(machine, "LOG", Path("/tmp/blockchain-dao-test-dockerd.log"))
        patch.setattr(machine, "PID_FILE", Path("/tmp/blockchain-dao-test-dockerd.pid"))
        patch.setattr(machine, "DAEMON", ["sh", "-c", "echo 'no bridge here'; exit 1"])
        assert machine.why_not.__wrapped__() == "dockerd can't start here: no bridge here"


TESTS = """
import pytest
{more}

@pytest.fixture(scope="session")
def lab():
    return 1

@pytest.fixture
def tencent(lab):
    return lab

@pytest.mark.parametrize("n", range(4))
def test_{name}(n, {fixture}):
    pass
"""


def test_the_labs_tests_go_to_one_worker_and_a_files_tests_stay_together(tmp_path: Path) -> None:
    for name, fixture in (("a", "tmp_path"), ("b", "tencent"), ("c", "tmp_path"), ("d", "lab"), ("e", "tmp_path")):
        more = "from tests.lab.host import LabHost" if name in "bd" else ""
        file = tmp_path / "tests" / f"test_{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(TESTS.format(name=name, fixture=fixture, more=more)))
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 60\n")
    words = ["-m", "pytest", "-v", "-p", "tests.lab.fixtures", "-p", "no:cacheprovider", "-n", "3", "--dist"]
    done = subprocess.run(
        [sys.executable, *words, "loadfile", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "20 passed" in done.stdout, done.stdout + done.stderr
    workers: dict[str, set[str]] = {}
    for worker, name in re.findall(r"\[(gw\d)\].*PASSED tests/test_(\w)\.py", done.stdout):
        workers.setdefault("lab" if name in "bd" else name, set()).add(worker)
    assert set(workers) == {"a", "c", "e", "lab"}
    assert all(len(one) == 1 for one in workers.values()), workers
    assert len(set.union(*workers.values())) == 3


def test_make_lab_keeps_two_servers_for_people(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab_tool, "NAME", f"people-{os.getpid()}")
    name = name_of(lab_tool.NAME)
    find = ("ps", "-q", "--no-trunc", "--filter", f"label={LABEL}={name}")
    try:
        assert lab_tool.main(["up"]) == 0
        said = capsys.readouterr().out
        for command, hostname in zip(re.findall(r"ssh -i \S+ root@\S+", said), ("tencent", "alibaba"), strict=True):
            options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
            words = [*command.split(), *options, "hostname; docker images -q blockchain-dao/stand-in | wc -l"]
            done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=True)
            assert done.stdout.split() == [hostname, "1"]
        before = docker(*find)
        assert len(before.split()) == 2
        assert lab_tool.main(["up"]) == 0
        assert docker(*find) == before
        assert capsys.readouterr().out == said
    finally:
        assert lab_tool.main(["down"]) == 0
    assert not docker(*find)
    assert lab.name != name
    assert "the images stay" in capsys.readouterr().out
    assert not (REPOSITORY / "build/lab" / lab_tool.NAME).exists()
    assert lab_tool.main(["sideways"]) == 2

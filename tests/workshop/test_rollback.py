"""`make rollback`: one service back to its previous generation, on the laptop and over ssh."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.workshop.conftest import Project

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
ANSWER = '{"name": "identity-service", "outcome": "rolled back", "generation": 4}'
HOSTCTL = """\
#!{python}
import json, os, sys, time
with open({log!r}, "a") as log:
    log.write(json.dumps({{"argv": sys.argv[1:], "stdin": sys.stdin.read()}}) + "\\n")
print("identity-service: starting generation 4", file=sys.stderr, flush=True)
time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
code = int(os.environ.get("STUB_EXIT", "0"))
print({answer!r}) if not code else print("error: it has no generation 9; it has 4, 5", file=sys.stderr)
sys.exit(code)
"""
SSH = """\
#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps({{"argv": sys.argv[1:]}}) + "\\n")
os.execv("/bin/sh", ["sh", "-c", sys.argv[-1].replace({root!r}, {there!r})])
"""
"""What sshd does with the command's text; the server's folder is one of this machine."""
ROOT = "/opt/blockchain-services"


@pytest.fixture
def agent() -> Iterator[str]:
    """The socket of an ssh-agent; a folder of its own, for paths of sockets are short."""
    folder = tempfile.mkdtemp(prefix="agent-")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/s")
        yield f"{folder}/s"
    shutil.rmtree(folder)


def set_host(project: Project, stack: str, **values: object) -> None:
    path = project.folder / f"Pulumi.{stack}.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"]["blockchain-dao:host"].update(values)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def hostctl(project: Project, root: Path) -> None:
    path = root / "bin" / "hostctl"
    path.parent.mkdir(parents=True)
    log = str(project.folder / "hostctl.log")
    path.write_text(HOSTCTL.format(python=sys.executable, log=log, answer=ANSWER))
    path.chmod(0o755)


@pytest.fixture
def laptop(real: Project) -> Project:
    """`local`, converged by a stub of hostctl."""
    hostctl(real, real.folder / ".local")
    return real


@pytest.fixture
def server(real: Project, tmp_path: Path, agent: str) -> Project:
    """`tencent`, pinned and converged by a stub, and an ssh that goes nowhere."""
    there = tmp_path / "opt"
    hostctl(real, there)
    set_host(real, "tencent", host_key=KEY, ssh_port=2222, user="deploy")
    log = str(real.folder / "ssh.log")
    real.program("ssh", SSH.format(python=sys.executable, log=log, root=ROOT, there=str(there)))
    real.env["SSH_AUTH_SOCK"] = agent
    return real


def rollback(
    project: Project, service: str = "identity-service", stack: str = "local", **env: str
) -> subprocess.CompletedProcess[str]:
    return project.run(sys.executable, "tools/rollback.py", STACK=stack, SERVICE=service, **env)


def after(stack: str, address: str) -> str:
    """What is said once it is done."""
    return (
        f"identity-service went back on {address}; Pulumi.{stack}.yaml is as it was: `make preview STACK={stack}` "
        f"shows the difference, and `make up STACK={stack}` goes forward again"
    )


@pytest.mark.parametrize(("to", "more"), [("", []), ("4", ["--to", "4"]), (" 04 ", ["--to", "4"])])
def test_a_laptop(laptop: Project, to: str, more: list[str]) -> None:
    done = rollback(laptop, TO=to)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ANSWER}\n"
    assert done.stderr.splitlines() == ["identity-service: starting generation 4", after("local", "127.0.0.1")]
    assert laptop.calls("hostctl") == [{"argv": ["rollback", "identity-service", *more], "stdin": ""}]


@pytest.mark.parametrize(("to", "more"), [("", []), ("7", ["--to", "7"])])
def test_a_server_over_one_connection_with_the_pinned_key(server: Project, to: str, more: list[str]) -> None:
    done = rollback(server, stack="tencent", TO=to)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ANSWER}\n"
    assert done.stderr.splitlines()[-1] == after("tencent", "101.33.251.158")
    assert server.calls("hostctl") == [{"argv": ["rollback", "identity-service", *more], "stdin": ""}]
    (call,) = server.calls("ssh")
    *options, host, text = call["argv"]
    assert (host, shlex.split(text)) == (
        "101.33.251.158",
        [f"{ROOT}/bin/hostctl", "rollback", "identity-service", *more],
    )
    assert options[options.index("-p") + 1] == "2222"
    assert options[options.index("-l") + 1] == "deploy"
    assert "StrictHostKeyChecking=yes" in options


def test_no_engine_no_build_and_no_passphrase(server: Project) -> None:
    """Nothing but ssh is run: whatever else is on PATH says so."""
    server.with_pulumi()
    for name in ("docker", "git", "uv"):
        server.program(name, f"#!/bin/sh\necho {name} >>'{server.folder}/others'\n")
    assert rollback(server, stack="tencent").returncode == 0
    assert server.calls("pulumi") == []
    assert not (server.folder / "others").exists()
    assert not [name for name in (".state", ".standalone") if (server.folder / name).exists()]


@pytest.mark.parametrize("stack", ["local", "tencent", "alibaba"])
@pytest.mark.parametrize("service", ["", "identity", "test-mysql", "--to", "identity-service; true"])
def test_without_a_service_of_the_plan_it_says_which_there_are(real: Project, stack: str, service: str) -> None:
    done = rollback(real, service, stack)
    assert done.returncode == 2
    why = f"{stack} has no service {json.dumps(service)}" if service else "which service? SERVICE=NAME"
    said, _, names = done.stderr.strip().partition("; there are: ")
    assert said == f"error: {why}"
    listed = names.split(", ")
    assert {"blockchain-service", "identity-service"} <= set(listed)
    assert ("dao-shared-service" in listed) == (stack == "tencent")  # its edition's are services too
    assert ("edge" in listed) == (stack != "local")
    assert "mysql" not in listed
    assert done.stdout == ""


@pytest.mark.parametrize("to", ["0", "-1", "four", "4; true", "4 5", "٤", "1.5"])
def test_what_is_no_generation_is_refused_before_anybody_is_asked(laptop: Project, to: str) -> None:
    done = rollback(laptop, TO=to)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: TO={to} is no generation; a number from 1 on is, and without TO it is the one before\n"
    )
    assert laptop.calls("hostctl") == []


@pytest.mark.parametrize("code", [1, 2, 75])
def test_hostctls_refusal_and_exit_code_are_passed_on(server: Project, code: int) -> None:
    hostctl(server, server.folder / ".local")
    for stack in ("local", "tencent"):
        done = rollback(server, stack=stack, TO="9", STUB_EXIT=str(code))
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.splitlines()[-1] == "error: it has no generation 9; it has 4, 5"
        assert "went back" not in done.stderr


def test_a_laptop_that_is_not_up(real: Project) -> None:
    done = rollback(real)
    assert done.returncode == 2
    assert done.stderr == ("error: local is not up: there is no .local/bin/hostctl\n  cure: `make up STACK=local`\n")


def test_a_server_without_hostctl(server: Project, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "opt")
    done = rollback(server, stack="tencent")
    assert done.returncode == 127
    assert done.stderr.splitlines()[-1] == (
        "error: there is no hostctl on 101.33.251.158: `make up STACK=tencent` puts it there"
    )


def test_without_a_pinned_key_or_an_agent_nobody_is_asked(server: Project) -> None:
    server.env["SSH_AUTH_SOCK"] = "/nowhere"
    done = rollback(server, stack="tencent")
    assert done.returncode == 255
    assert "no ssh-agent (SSH_AUTH_SOCK)" in done.stderr
    set_host(server, "tencent", host_key=None)
    done = rollback(server, stack="tencent")
    assert done.returncode == 255
    assert "no host key is pinned for 101.33.251.158" in done.stderr
    assert (server.calls("ssh"), server.calls("hostctl")) == ([], [])


def test_a_stack_file_that_is_no_plan(real: Project) -> None:
    path = real.folder / "Pulumi.tencent.yaml"
    path.write_text(path.read_text().replace("mode: integration", "mode: integratoin"))
    done = rollback(real, stack="tencent")
    assert done.returncode == 2
    assert "error: Pulumi.tencent.yaml is no sound plan, and it says where the host is: " in done.stderr
    assert "did you mean 'integration'?" in done.stderr
    assert "cure: mend what it names, or type it on the host: bin/hostctl rollback NAME" in done.stderr
    path.write_text("config: [")
    done = rollback(real, stack="tencent")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_stack_that_does_not_exist(real: Project) -> None:
    done = rollback(real, stack="nowhere")
    assert done.returncode == 2
    assert done.stderr == 'error: there is no stack "nowhere"; there are: local, alibaba, tencent\n'


def test_the_runtime_docker_keeps_no_generations(real: Project) -> None:
    path = real.folder / "Pulumi.local.yaml"
    path.write_text(path.read_text().replace("runtime: process", "runtime: docker"))
    done = rollback(real)
    assert done.returncode == 2
    assert "error: runtime: with docker the containers of local are Pulumi's" in done.stderr


def test_ctrl_c_says_that_hostctl_ends_what_it_has_begun(server: Project) -> None:
    process = subprocess.Popen(
        [sys.executable, "tools/rollback.py"],
        cwd=server.folder,
        env={**server.env, "STACK": "tencent", "SERVICE": "identity-service", "STUB_SECONDS": "30"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not server.calls("hostctl"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.splitlines()[-1] == (
        "interrupted: what hostctl has begun it ends; `make preview STACK=tencent` shows how it is"
    )


class TestMake:
    """The target: values go over in the environment, and a key file gets its agent."""

    @pytest.fixture
    def stub(self, installed: Project) -> Project:
        text = "import json, os\nprint(json.dumps([os.environ.get(n) for n in ('STACK', 'SERVICE', 'TO')]))\n"
        (installed.folder / "tools" / "rollback.py").write_text(text)
        return installed

    def test_it_hands_everything_over(self, stub: Project) -> None:
        done = stub.run("make", "rollback", "STACK=tencent", "SERVICE=identity-service", "TO=3")
        assert json.loads(done.stdout) == ["tencent", "identity-service", "3"], done.stderr

    @pytest.mark.parametrize("value", ["x; touch hacked", "$$(touch hacked)", "`touch hacked`"])
    def test_no_value_is_read_by_a_shell(self, stub: Project, value: str) -> None:
        done = stub.run("make", "rollback", f"SERVICE={value}", f"TO={value}")
        plain = value.replace("$$", "$")
        assert json.loads(done.stdout) == ["local", plain, plain]
        assert not (stub.folder / "hacked").exists()

    def test_a_key_file_gets_an_agent_as_with_up(self, stub: Project) -> None:
        done = stub.run("make", "rollback", "SERVICE=x", "SSH_KEY_FILE=/nowhere")
        assert done.returncode != 0
        assert "error: SSH_KEY_FILE=/nowhere can't be read" in done.stderr
        assert done.stdout == ""

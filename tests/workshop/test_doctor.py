"""`make doctor`: what is missing to run a stack from here, each with its cure."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from standalone.crypto import Keyring
from tests.workshop.conftest import Project

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@pytest.fixture
def real(real: Project) -> Project:
    """With ports that are free here."""
    text = (real.folder / "Pulumi.local.yaml").read_text()
    for port in (8301, 8302, 8303, 8304, 8311, 8312):
        text = text.replace(f"port: {port}", f"port: {free_port()}")
    (real.folder / "Pulumi.local.yaml").write_text(text.replace("range: 8300-8399", "range: 1024-65535"))
    return real


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def doctor(project: Project, stack: str = "local", **env: str) -> subprocess.CompletedProcess[str]:
    return project.run(sys.executable, "tools/doctor.py", STACK=stack, **env)


def set_port(project: Project, port: int) -> None:
    path = project.folder / "Pulumi.local.yaml"
    before, rest = path.read_text().split("identity-service: {port: ", 1)
    path.write_text(f"{before}identity-service: {{port: {port}{rest[rest.index('}') :]}")


def test_local_is_ready_on_a_fresh_clone(real: Project) -> None:
    done = doctor(real)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "local: ready"
    assert "note    no pulumi on PATH: standalone runs the program" in lines
    assert any(line.startswith("ok      Pulumi.local.yaml is a sound plan: 6 services") for line in lines)
    assert any(line.startswith("ok      ports ") and line.endswith(": free") for line in lines)
    assert "MISSING" not in done.stdout


def test_a_stranger_on_a_port_is_named(real: Project) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        set_port(real, port)
        done = doctor(real)
    assert done.returncode == 1
    assert f"MISSING port {port} of identity-service: " in done.stdout
    assert "(process " in done.stdout
    assert "cure: stop that program, or give the service another port" in done.stdout
    assert done.stdout.splitlines()[-1] == "local: 1 missing"


def test_our_own_services_are_no_strangers(real: Project) -> None:
    hostctl = real.folder / ".local" / "bin" / "hostctl"
    hostctl.parent.mkdir(parents=True)
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        set_port(real, port)
        status = {"services": {"identity-service": {"pid": 12, "ports": [port]}}}
        hostctl.write_text(f"#!/bin/sh\n[ \"$*\" = 'status --json' ] && echo '{json.dumps(status)}'\n")
        hostctl.chmod(0o755)
        done = doctor(real)
    assert done.returncode == 0, done.stdout


def test_every_problem_of_the_stack_file_is_said(real: Project) -> None:
    path = real.folder / "Pulumi.local.yaml"
    path.write_text(path.read_text().replace("mode: development", "mode: developmint"))
    done = doctor(real)
    assert done.returncode == 1
    assert "MISSING Pulumi.local.yaml is no sound plan" in done.stdout
    assert "developmint" in done.stdout


def test_types_and_what_is_missing_come_in_one_list(real: Project) -> None:
    """No `config:` in Pulumi.yaml: either engine would end at the first of these by itself."""
    path = real.folder / "Pulumi.local.yaml"
    lines = [line for line in path.read_text().splitlines() if "blockchain-dao:mode" not in line]
    path.write_text("\n".join(lines).replace("monthly_cost_yuan: 0", "monthly_cost_yuan: lots"))
    done = doctor(real)
    assert "has 2 problems" in done.stdout
    assert "mode: is missing" in done.stdout
    assert "monthly_cost_yuan: 'lots' is not a whole number" in done.stdout


def test_docker_is_asked_for_only_where_the_stack_needs_it(real: Project) -> None:
    path = real.folder / "Pulumi.local.yaml"
    path.write_text(path.read_text().replace("runtime: process", "runtime: docker"))
    real.program("docker", "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    done = doctor(real)
    assert done.returncode == 1
    assert "MISSING docker's daemon: Cannot connect to the Docker daemon" in done.stdout
    real.program("docker", "#!/bin/sh\necho 27.1\n")
    assert "ok      docker 27.1" in doctor(real).stdout


class TestRemote:
    def test_all_that_is_missing_is_said_at_once(self, real: Project) -> None:
        done = doctor(real, "tencent")
        assert done.returncode == 1
        for gap in ("the stack's passphrase (`make preview` works without)", "an SSH key", "host.host_key"):
            assert f"MISSING {gap}" in done.stdout
        assert "cure: `make trust STACK=tencent` shows the server's keys" in done.stdout
        assert done.stdout.splitlines()[-1] == "tencent: 3 missing"

    def test_without_an_ssh_client(self, real: Project) -> None:
        done = doctor(real, "tencent", PATH=str(real.programs))
        assert "MISSING ssh\n        cure: Debian/Ubuntu: apt-get install openssh-client" in done.stdout
        real.program("ssh", "#!/bin/sh\n")
        done = doctor(real, "tencent", PATH=str(real.programs))
        assert f"ok      ssh ({real.programs}/ssh)" in done.stdout

    def test_docker_here_is_asked_for_only_where_images_are_pushed(self, real: Project) -> None:
        real.program("docker", "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
        assert "Cannot connect" not in doctor(real, "tencent").stdout
        path = real.folder / "Pulumi.tencent.yaml"
        path.write_text(f"{path.read_text()}\n  blockchain-dao:images: {{stand_in: push}}\n")
        assert "MISSING docker's daemon: Cannot connect to the Docker daemon" in doctor(real, "tencent").stdout
        (real.programs / "docker").unlink()
        done = doctor(real, "tencent", PATH=str(real.programs))
        # The edge of our own comes as the stand-in does.
        assert re.search(r"MISSING docker \(it pushes blockchain-dao/edge:[^ ]+, blockchain-dao/stand-in:", done.stdout)
        assert "or let the server get them itself (images.stand_in, image_from)" in done.stdout
        real.program("docker", "#!/bin/sh\necho 27.1\n")
        assert "ok      docker 27.1" in doctor(real, "tencent").stdout

    def test_ready(self, real: Project, tmp_path: Path) -> None:
        self.pin(real)
        key, phrase = tmp_path / "key", tmp_path / "phrase"
        for path in (key, phrase):
            path.write_text("secret\n")
            path.chmod(0o600)
        done = doctor(real, "tencent", SSH_KEY_FILE=str(key), PULUMI_CONFIG_PASSPHRASE_FILE=str(phrase))
        assert done.returncode == 0, done.stdout
        assert "ok      the host key of 101.33.251.158 is pinned: 256 SHA256:" in done.stdout
        assert done.stdout.splitlines()[-1] == "tencent: ready"

    def test_files_that_others_can_read(self, real: Project, tmp_path: Path) -> None:
        self.pin(real)
        key = tmp_path / "key"
        key.write_text("secret\n")
        key.chmod(0o644)
        done = doctor(real, "tencent", SSH_KEY_FILE=str(key), PULUMI_CONFIG_PASSPHRASE_FILE=str(key))
        assert f"MISSING SSH_KEY_FILE: {key} has mode 0644: others can read it" in done.stdout
        assert f"MISSING PULUMI_CONFIG_PASSPHRASE_FILE: {key} has mode 0644" in done.stdout
        assert f"cure: chmod 600 {key}" in done.stdout

    def test_the_passphrase_must_open_the_secure_values(self, real: Project) -> None:
        crypter = Keyring("right").new_salt()
        path = real.folder / "Pulumi.tencent.yaml"
        secure = f"  blockchain-dao:secrets:\n    mysql: {{secure: {crypter.encrypt('x')}}}\n"
        path.write_text(f"{path.read_text()}{secure}encryptionsalt: {crypter.salt_line}\n")
        right = doctor(real, "tencent", PULUMI_CONFIG_PASSPHRASE="right")
        assert "ok      the passphrase opens the stack file's secure values" in right.stdout, right.stdout
        wrong = doctor(real, "tencent", PULUMI_CONFIG_PASSPHRASE="wrong")
        assert "MISSING the stack file's secure values: " in wrong.stdout
        for words in (right, wrong):
            assert "is a sound plan" in words.stdout

    @staticmethod
    def pin(project: Project) -> None:
        path = project.folder / "Pulumi.tencent.yaml"
        path.write_text(path.read_text().replace("    address: ", f"    host_key: {KEY}\n    address: "))


def test_the_other_engine_owns_the_stack(real: Project) -> None:
    kept = real.folder / ".state" / ".pulumi" / "stacks" / "blockchain-dao"
    kept.mkdir(parents=True)
    resource = {"urn": "urn:pulumi:local::blockchain-dao::command:local:Command::x", "type": "command:local:Command"}
    (kept / "local.json").write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": [resource]}}}))
    done = doctor(real)
    assert done.returncode == 1
    assert "MISSING the stack is owned by pulumi, and `make` would use standalone" in done.stdout
    assert "make handover STACK=local TO=standalone" in done.stdout


def test_a_password_in_clear(real: Project) -> None:
    path = real.folder / "Pulumi.local.yaml"
    path.write_text(f"{path.read_text()}\n  blockchain-dao:secrets: {{mysql: HUNTER2}}\n")
    done = doctor(real)
    assert done.returncode == 1
    assert "not encrypted: blockchain-dao:secrets.mysql. `make encrypt STACK=local`" in done.stdout
    assert "HUNTER2" not in done.stdout
    assert done.stdout.splitlines()[-1] == "local: 1 missing"


def test_a_backend_that_is_not_here(real: Project) -> None:
    done = doctor(real, PULUMI_BACKEND_URL="s3://bucket")
    assert "MISSING who owns the stack: its backend isn't on this machine" in done.stdout
    real.with_pulumi()
    assert (
        "note    its backend isn't on this machine: the CLI asks it" in doctor(real, PULUMI_BACKEND_URL="s3://b").stdout
    )


def test_before_the_install_it_says_what_it_can(real: Project) -> None:
    (real.folder / ".venv").unlink()
    base = Path(sys.base_prefix) / "bin" / "python3"
    done = real.run(str(base), "tools/doctor.py", STACK="local")
    assert done.returncode == 1
    assert "MISSING .venv, with what uv.lock says" in done.stdout
    assert "cure: `make install`" in done.stdout


def test_a_stack_that_does_not_exist(real: Project) -> None:
    done = doctor(real, "nowhere")
    assert done.returncode == 1
    assert 'there is no stack "nowhere"; there are: local, alibaba, tencent' in done.stderr


def test_secrets_that_others_can_read(real: Project) -> None:
    (real.folder / ".local" / "secrets").mkdir(parents=True)
    (real.folder / ".local" / "secrets").chmod(0o755)
    assert "secrets can be read by others" in doctor(real).stdout

"""What a server must have: all that is missing at once, each with its cure; nothing on a host that has it all."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostctl import compose_program, docker_api, pack, prerequisites
from hostctl.errors import HostctlError
from tests.hostctl.simulated_server import GO, Machine

FAST = 0.05
V1 = "#!/bin/sh\necho 1.29.2\n"
V2 = "#!/bin/sh\necho 2.26.1\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


def ensure(machine: Machine, **spec: Any) -> list[str]:
    return prerequisites.ensure({"disk": 1, **spec}, root=str(machine.home / "opt" / "services"))


def gaps(machine: Machine, **spec: Any) -> list[str]:
    """What is told of a host that lacks something."""
    with pytest.raises(HostctlError) as caught:
        ensure(machine, **spec)
    first, *rest = str(caught.value).splitlines()
    assert first == "this host lacks what it needs:"
    return rest


class TestAHostThatHasItAll:
    @pytest.mark.parametrize(
        "spec", [{}, {"install": True}, {"install": True, "mirror": "https://mirror.example/debian"}]
    )
    def test_it_is_left_alone_without_a_word_or_a_process(self, machine: Machine, spec: dict[str, Any]) -> None:
        machine.docker()
        for name in ("docker-compose", "apt-get", "service"):
            machine.program(name)
        seconds: list[float] = []
        for _ in range(10):
            began = time.perf_counter()
            assert ensure(machine, **spec) == []
            seconds.append(time.perf_counter() - began)
        assert min(seconds) < FAST
        assert machine.seen() == []
        assert machine.left_behind() == []

    def test_another_daemon_than_the_hosts_own_is_refused(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.docker()
        machine.program("docker-compose")
        monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
        assert gaps(machine) == [
            "- DOCKER_HOST is tcp://elsewhere:2375: unset it: a host converges its own Docker only"
        ]

    def test_dockers_usual_socket(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        machine.docker()
        machine.program("docker-compose")
        monkeypatch.delenv("DOCKER_HOST")
        monkeypatch.setattr(docker_api, "SOCKET", str(machine.socket))
        assert ensure(machine) == []

    def test_compose_is_not_looked_for_where_it_is_not_needed(self, machine: Machine) -> None:
        machine.docker()
        root = str(machine.home)
        assert prerequisites.ensure({"disk": 1}, compose_file_needed=False, root=root) == []
        assert gaps(machine)


class TestDocker:
    def test_not_installed(self, machine: Machine) -> None:
        machine.program("docker-compose")
        machine.program("apt-get")
        (told,) = gaps(machine)
        assert told.startswith(
            "- Docker is not installed: `apt-get update && apt-get install docker.io docker-compose`"
        )
        assert "`install_docker: true` under host in the stack file" in told
        assert machine.seen() == []

    @pytest.mark.parametrize("systemd", [True, False])
    def test_installed_and_not_running(self, machine: Machine, systemd: bool) -> None:
        machine.program("dockerd")
        machine.program("docker-compose")
        if systemd:
            (machine.home / "systemd").mkdir()
        dead = socket.socket(socket.AF_UNIX)
        for _ in range(2):
            start = "systemctl enable --now docker" if systemd else "service docker start"
            assert gaps(machine) == [f"- Docker is installed, but does not run ({machine.socket}): `{start}`"]
            if not machine.socket.exists():
                dead.bind(str(machine.socket))  # what a killed daemon leaves
        dead.close()

    def test_not_allowed(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        machine.docker()
        monkeypatch.setenv("LOGNAME", "deploy")
        machine.socket.chmod(0)
        if os.getuid() == 0:
            os.seteuid(65534)  # root may do everything
        try:
            gap = prerequisites._connect(str(machine.socket))
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
        assert gap is not None
        assert gap.kind == prerequisites.OTHER, "no install would help"
        assert gap.what == f"deploy may not speak to Docker ({machine.socket})"
        assert gap.cure.startswith("let host.user be root, or `usermod -aG docker deploy`")

    @pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b'{"Version": "dev"}'])
    def test_something_else_answers(self, machine: Machine, answer: bytes) -> None:
        machine.docker(answer=answer)
        machine.program("docker-compose")
        (told,) = gaps(machine)
        assert told.startswith(f"- what answers on {machine.socket} is no Docker that we know")

    def test_a_file_where_the_socket_should_be(self, machine: Machine) -> None:
        machine.program("docker-compose")
        machine.program("dockerd")
        machine.socket.write_text("")
        assert gaps(machine)[0].startswith("- Docker is installed, but does not run")


class TestCompose:
    def test_one_x_is_fine_as_long_as_it_can_recreate(self, machine: Machine) -> None:
        machine.docker("24.0.9")
        machine.program("docker-compose", V1)
        assert ensure(machine) == []

    @pytest.mark.parametrize("version", ["25.0.0", "28.2.2", "26.1.5+dfsg1"])
    def test_one_x_is_refused_where_it_cannot(self, machine: Machine, version: str) -> None:
        machine.docker(version)
        path = machine.program("docker-compose", V1)
        (told,) = gaps(machine, install=True)
        assert told.startswith(f"- {path} is 1.x, which can't recreate under Docker {version[:2]} ")
        assert "after installing docker-compose-plugin (Ubuntu: docker-compose-v2)" in told
        machine.program("docker-compose", folder=machine.home / "plugins")
        assert "docker-compose-plugin" not in gaps(machine)[0]
        path.unlink()
        assert ensure(machine) == [f"{machine.shim} written: it runs `docker compose`"]

    def test_two_x_is_told_without_a_run_of_it(self, machine: Machine) -> None:
        machine.docker("28.0.0")
        machine.program("docker-compose", GO)
        assert ensure(machine) == []
        machine.program("docker-compose", V2)  # somebody's own script
        assert ensure(machine) == []

    def test_one_that_does_not_run(self, machine: Machine) -> None:
        machine.docker("28.0.0")
        path = machine.program("docker-compose", "#!/no/such/interpreter\n")
        assert gaps(machine) == [f"- {path} does not run: `{path} version` says why"]

    def test_the_programs_of_this_machine_are_told_apart(self) -> None:
        """Real ones, where there are any: Debian's 1.x is a Python script, Docker's own programs are Go's."""
        compose, docker = Path("/usr/bin/docker-compose"), Path("/usr/bin/docker")
        if not compose.exists() or not docker.exists():
            pytest.skip("no docker and docker-compose in /usr/bin")
        said = subprocess.run([compose, "version", "--short"], capture_output=True, text=True, timeout=60, check=True)
        assert compose_program.major(str(compose)) == int(said.stdout.split(".")[0].lstrip("v"))
        assert compose_program.major(str(docker)) == 2


class TestShim:
    def with_plugin(self, machine: Machine) -> None:
        machine.docker("28.0.0")
        script = '#!/bin/sh\necho "docker $*" >> "$HOME/ran"\n'
        machine.program("docker", script)
        machine.program("docker-compose", folder=machine.home / "plugins")

    def test_it_is_written_once_and_does_what_was_typed(self, machine: Machine) -> None:
        self.with_plugin(machine)
        assert ensure(machine) == [f"{machine.shim} written: it runs `docker compose`"]
        before = machine.shim.stat()
        assert before.st_mode & 0o777 == 0o755
        assert ensure(machine) == []
        assert machine.shim.stat().st_mtime_ns == before.st_mtime_ns
        assert not (machine.home / "ran").exists(), "no process was needed to know"
        subprocess.run(["docker-compose", "-f", "a b.yml", "up", "-d"], check=True, timeout=20)
        assert (machine.home / "ran").read_text() == "docker compose -f a b.yml up -d\n"
        assert [path.name for path in machine.shim.parent.iterdir()] == ["docker-compose"]

    def test_it_is_taken_away_again_and_nobody_elses(self, machine: Machine) -> None:
        assert compose_program.remove_shim() == []
        self.with_plugin(machine)
        ensure(machine)
        assert compose_program.remove_shim() == [f"{machine.shim} removed"]
        assert not machine.shim.exists()
        machine.program("docker-compose", V2, folder=machine.shim.parent)
        assert compose_program.remove_shim() == []
        assert machine.shim.exists()

    def test_its_plugin_is_gone(self, machine: Machine) -> None:
        self.with_plugin(machine)
        ensure(machine)
        (machine.home / "plugins" / "docker-compose").unlink()
        machine.program("docker", "#!/bin/sh\nexit 125\n")
        assert gaps(machine)[0].startswith(f"- the plugin that {machine.shim} runs is gone: ")

    def test_a_plugin_in_a_place_of_its_own_is_asked(self, machine: Machine) -> None:
        machine.docker()
        machine.program("docker", '#!/bin/sh\n[ "$*" = "compose version --short" ] && echo 2.30.0\n')
        assert ensure(machine) == [f"{machine.shim} written: it runs `docker compose`"]

    def test_where_it_cannot_be_written(self, machine: Machine) -> None:
        self.with_plugin(machine)
        machine.shim.parent.rmdir()
        machine.shim.parent.write_text("a file\n")
        (told,) = gaps(machine)
        assert f"{machine.shim} can't be written" in told
        assert "put a script of that name" in told

    def test_it_comes_out_of_the_zipapp(self, machine: Machine, tmp_path: Path) -> None:
        (tmp_path / "hostctl.pyz").write_bytes(pack.pack())
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from hostctl import compose_program as c\n"
            "c.SHIM = sys.argv[2]; print(c.__file__, c.write_shim(), c.write_shim())\n"
        )
        command = [sys.executable, "-IS", "-c", code, str(tmp_path / "hostctl.pyz"), str(machine.shim)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        assert "hostctl.pyz" in said
        assert said.endswith(f"['{machine.shim} written: it runs `docker compose`'] []\n")
        assert machine.shim.read_bytes() == (pack.HERE / "docker-compose.in").read_bytes()


class TestDisk:
    def test_too_little_is_told_once_for_each_file_system(self, machine: Machine) -> None:
        machine.docker()
        machine.program("docker-compose")
        (told,) = gaps(machine, disk=10**17)
        root, folder = machine.home / "opt" / "services", machine.home / "docker"
        assert re.match(rf"- only \d+\.\d\d GB are free for {root} and {folder}: make it 100000000\.00 GB", told)

    def test_a_gigabyte_is_wanted_unless_told_otherwise(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.docker()
        machine.program("docker-compose")
        real = os.statvfs

        def with_room(free: int) -> None:
            monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((1, 1, free, free, free, *[0] * 5)))

        for free, enough in ((10**9, True), (10**9 - 1, False)):
            with_room(free)
            if enough:
                assert prerequisites.ensure({}, root=str(machine.home)) == []
            else:
                with pytest.raises(HostctlError, match=r"only 1\.00 GB are free for .*: make it 1\.00 GB"):
                    prerequisites.ensure({}, root=str(machine.home))
        monkeypatch.setattr(os, "statvfs", real)


def test_all_that_is_missing_is_told_at_once_and_nothing_is_touched(machine: Machine) -> None:
    machine.program("apt-get")
    before = sorted(str(path) for path in machine.home.rglob("*"))
    told = gaps(machine, disk=10**17)
    assert [line.split(":")[0] for line in told[:2]] == [
        "- Docker is not installed",
        "- docker-compose is not installed",
    ]
    assert told[2].startswith("- only ")
    assert len(told) == 3
    assert sorted(str(path) for path in machine.home.rglob("*")) == before

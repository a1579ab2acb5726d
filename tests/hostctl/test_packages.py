"""Installing what is missing: which packages, from where, and that nothing of a mirror stays behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostctl import apt_source, prerequisites, system_command
from hostctl.errors import HostctlError
from tests.hostctl.simulated_server import Machine
from tests.standalone.conftest import until

MIRROR = "https://mirrors.example/debian"
STALE = (100, "W: old\nE: The repository 'x bookworm-updates Release' does not have a Release file.")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A Debian without Docker; its packages bring one that runs once it is started."""
    made = Machine(tmp_path, monkeypatch)
    for name in ("apt-get", "apt-cache", "dpkg", "service", "systemctl"):
        made.program(name)
    made.docker(asleep=True)
    (made.bin / "docker").rename(made.home / "client")
    (made.bin / "dockerd").unlink()
    made.package("docker.io", "docker", "dockerd")
    made.package("docker-compose", "docker-compose")
    yield made
    made.close()


def ensure(machine: Machine, **spec: Any) -> list[str]:
    return prerequisites.ensure({"disk": 1, "install": True, **spec}, root=str(machine.home))


def refusal(machine: Machine, **spec: Any) -> str:
    with pytest.raises(HostctlError) as caught:
        ensure(machine, **spec)
    assert machine.left_behind() == []
    return str(caught.value)


class TestApt:
    def test_what_is_missing_is_installed_and_started_once(self, machine: Machine) -> None:
        assert ensure(machine) == ["installed docker.io docker-compose (apt-get)", "Docker started"]
        assert machine.calls() == [
            "apt-get update",
            "apt-cache policy docker.io docker-ce docker-compose-v2 docker-compose-plugin docker-compose",
            "apt-get install docker.io docker-compose ca-certificates apparmor",
            "service docker start",
        ]
        install = machine.seen()[2]
        assert "DPkg::Lock::Timeout=120" in install["argv"]
        assert "--no-install-recommends" in install["argv"]
        assert "Dpkg::Options::=--force-confold" in install["argv"]
        assert ensure(machine) == []
        assert len(machine.calls()) == 4

    def test_nothing_asks_and_nothing_is_told_or_made_stricter(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
        monkeypatch.setenv("MYSQL_PASSWORD", "HUNTER2")
        before = os.umask(0o077)
        try:
            ensure(machine)
            assert os.umask(0o077) == 0o077
        finally:
            os.umask(before)
        for call in machine.seen():
            assert call["umask"] == 0o022
            assert call["env"]["DEBIAN_FRONTEND"] == "noninteractive"
            assert call["env"]["https_proxy"] == "http://proxy.example:3128"
            assert "HUNTER2" not in call["env"].values()

    def test_only_what_is_missing(self, machine: Machine) -> None:
        machine.program("dockerd")
        assert ensure(machine) == ["installed docker-compose (apt-get)", "Docker started"]
        assert machine.calls()[2] == "apt-get install docker-compose"

    def test_docker_that_does_not_run_is_started(self, machine: Machine) -> None:
        machine.program("dockerd")
        machine.program("docker-compose")
        (machine.home / "systemd").mkdir()
        assert ensure(machine) == ["Docker started"]
        assert machine.calls() == ["systemctl enable docker"]
        assert machine.seen()[0]["argv"] == ["systemctl", "enable", "--now", "docker"]

    def test_one_that_is_not_set_up_yet_is_set_up_first(self, machine: Machine) -> None:
        machine.program("dockerd")
        machine.program("docker-compose")
        machine.answers("service", "run", (5, "Failed to resolve group docker"))
        assert ensure(machine) == ["Docker started"]
        assert machine.calls() == ["service docker start", "dpkg", "service docker start"]

    def test_one_that_stays_down_is_told(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(prerequisites, "_START_SECONDS", 0.3)
        machine.program("service", "#!/bin/sh\nexit 0\n")
        assert "Docker was started and does not answer on " in refusal(machine)
        machine.program("service", "#!/bin/sh\necho Failed to mount cgroups\nexit 1\n")
        assert refusal(machine) == "`service docker start` failed: Failed to mount cgroups"

    def test_the_plugin_comes_first_and_gets_its_shim(self, machine: Machine) -> None:
        """Ubuntu's docker-compose is 1.x, which can't recreate under the Docker that Ubuntu has."""
        machine.package("docker-compose-v2", "plugin")
        assert ensure(machine) == [
            "installed docker.io docker-compose-v2 (apt-get)",
            "Docker started",
            f"{machine.shim} written: it runs `docker compose`",
        ]
        assert ensure(machine) == []

    def test_what_an_install_before_left_half_done_is_finished_first(self, machine: Machine) -> None:
        words = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
        machine.answers("apt-get", "install", (100, words))
        ensure(machine)
        assert machine.calls()[2:5] == [
            "apt-get install docker.io docker-compose ca-certificates apparmor",
            "dpkg",
            "apt-get install docker.io docker-compose ca-certificates apparmor",
        ]
        assert machine.seen()[3]["argv"][:3] == ["dpkg", "--configure", "-a"]

    def test_the_indexes_of_a_server_that_updates_itself_are_waited_for(self, machine: Machine) -> None:
        locked = (100, "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 12 (apt-get)")
        machine.answers("apt-get", "update", locked, locked)
        ensure(machine)
        assert machine.calls()[:4].count("apt-get update") == 3

    def test_somebody_elses_broken_source_is_no_reason_to_fail(self, machine: Machine) -> None:
        machine.answers("apt-get", "update", STALE)
        assert ensure(machine)[0].startswith("installed ")

    def test_it_is_one_where_the_packages_are_not_known(self, machine: Machine) -> None:
        machine.answers("apt-get", "update", (100, "E: Failed to fetch http://x Could not resolve 'x'"))
        shutil.rmtree(machine.home / "packages" / "docker.io")
        told = refusal(machine)
        assert told.startswith("the package sources of this host have none of docker.io, docker-ce")
        assert "`apt-get update` failed: E: Failed to fetch http://x Could not resolve 'x'" in told
        assert "apt-get install" not in " ".join(machine.calls())

    def test_an_install_that_fails_says_its_last_words(self, machine: Machine) -> None:
        lines = "\n".join(f"line {number}" for number in range(9))
        machine.answers("apt-get", "install", (100, f"{lines}\nE: You don't have enough free space"))
        told = refusal(machine)
        assert told.startswith("`apt-get install docker.io docker-compose ca-certificates apparmor` failed: ")
        assert told.endswith("line 7 / line 8 / E: You don't have enough free space")
        assert "line 3" not in told

    def test_nothing_is_installed_where_something_else_is_missing_too(self, machine: Machine) -> None:
        told = refusal(machine, disk=10**17)
        assert "- Docker is not installed" in told
        assert "- only " in told
        assert machine.calls() == []


class TestMirror:
    def test_it_is_the_only_source_and_nothing_of_it_stays(self, machine: Machine) -> None:
        assert ensure(machine, mirror=MIRROR)[0] == f"installed docker.io docker-compose (apt-get, from {MIRROR} alone)"
        assert machine.left_behind() == []
        calls = [call for call in machine.seen() if call["argv"][0].startswith("apt")]
        assert len(calls) == 3
        for call in calls:
            options = dict(word.split("=", 1) for word in call["argv"] if word.startswith("Dir::"))
            assert options["Dir::Etc::SourceParts"] == "-"
            folders = {value for name, value in options.items() if name != "Dir::Etc::SourceParts"}
            assert all(value.startswith(f"{machine.home}/tmp/hostctl-apt-") for value in folders)
            assert call["sources"].splitlines() == [
                f"deb [signed-by={machine.keyring}] {MIRROR} bookworm main",
                f"deb [signed-by={machine.keyring}] {MIRROR} bookworm-updates main",
            ]
            assert set(call["modes"]) <= {"0o755", "0o644"}, "apt downloads as a user of its own"

    def test_one_without_the_updates(self, machine: Machine) -> None:
        machine.answers("apt-get", "update", STALE)
        ensure(machine, mirror=MIRROR)
        last = [call for call in machine.seen() if call["argv"][0].startswith("apt")][-1]
        assert last["sources"] == f"deb [signed-by={machine.keyring}] {MIRROR} bookworm main\n"
        assert machine.left_behind() == []

    def test_ubuntu(self, machine: Machine) -> None:
        machine.os_release("ubuntu", "jammy")
        ensure(machine, mirror="http://mirror.example/ubuntu?a=%41")
        suites = [line.split()[3:] for line in machine.seen()[0]["sources"].splitlines()]
        assert suites == [[f"jammy{more}", "main", "universe"] for more in ("", "-updates", "-security")]
        assert " http://mirror.example/ubuntu?a=%41 jammy main" in machine.seen()[0]["sources"]

    def test_it_goes_when_the_install_fails_too(self, machine: Machine) -> None:
        machine.answers("apt-get", "install", (100, "E: no"))
        assert "failed: E: no" in refusal(machine, mirror=MIRROR)

    def test_a_killed_run_is_cleaned_up_after_by_the_next(self, machine: Machine) -> None:
        left, at_work, strange = (machine.home / "tmp" / f"hostctl-apt-{name}" for name in ("left", "at-work", "x"))
        for folder in (left, at_work, strange):
            folder.mkdir()
            (folder / "sources.list").touch()
        (left / "held").touch()
        with (at_work / "held").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            ensure(machine)
            assert machine.left_behind() == sorted([at_work.name, strange.name])

    def test_what_a_killed_run_started_keeps_its_folder(self, machine: Machine) -> None:
        """apt inherits the lock: it is held as long as the last of them works."""
        told = machine.home / "told"
        killed = os.fork()
        if not killed:
            opened = apt_source.source(MIRROR)
            apt = subprocess.Popen(["/bin/sleep", "60"], pass_fds=opened.__enter__().held)
            told.write_text(str(apt.pid))
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(killed, 0)
        (folder,) = machine.left_behind()
        try:
            ensure(machine)
            assert machine.left_behind() == [folder]
        finally:
            os.kill(int(told.read_text()), signal.SIGKILL)
        until(lambda: apt_source._sweep() or not machine.left_behind())

    def test_another_distribution(self, machine: Machine) -> None:
        machine.os_release("linuxmint", "wilma", "Linux Mint 22")
        assert "packages_mirror: only releases of Debian and Ubuntu are known, and this is Linux Mint 22" in refusal(
            machine, mirror=MIRROR
        )
        (machine.home / "os-release").unlink()
        assert "and this is neither" in refusal(machine, mirror=MIRROR)
        assert machine.calls() == []

    def test_without_the_keys_of_the_distribution(self, machine: Machine) -> None:
        machine.keyring.unlink()
        told = refusal(machine, mirror=MIRROR)
        assert f"the keys that its packages are signed with are missing ({machine.keyring})" in told
        assert "`apt-get install debian-archive-keyring`" in told
        assert machine.calls() == []


class TestDnf:
    @pytest.fixture
    def red_hat(self, machine: Machine) -> Machine:
        (machine.bin / "apt-get").unlink()
        machine.program("dnf")
        machine.package("docker", "docker", "dockerd")
        machine.package("docker-compose-plugin")
        machine.program("docker-compose", folder=machine.home / "packages" / "docker-compose")
        return machine

    def test_the_first_that_can_be_had(self, red_hat: Machine) -> None:
        (red_hat.home / "packages" / "docker-compose-plugin").rmdir()
        assert ensure(red_hat) == ["installed docker docker-compose (dnf)", "Docker started"]
        assert red_hat.calls() == [
            "dnf list docker-ce",
            "dnf list docker",
            "dnf list moby-engine",
            "dnf list docker-compose-plugin",
            "dnf list docker-compose",
            "dnf install docker docker-compose",
            "service docker start",
        ]
        assert red_hat.seen()[5]["argv"] == ["dnf", "-y", "-q", "install", "docker", "docker-compose"]

    def test_yum_where_there_is_no_dnf(self, red_hat: Machine) -> None:
        (red_hat.bin / "dnf").rename(red_hat.bin / "yum")
        (red_hat.home / "packages" / "docker-compose-plugin").rmdir()
        assert ensure(red_hat)[0] == "installed docker docker-compose (yum)"

    def test_a_mirror_is_apts(self, red_hat: Machine) -> None:
        told = refusal(red_hat, mirror=MIRROR)
        assert "packages_mirror: it is for apt, and this host has dnf: set dnf's own sources to it" in told
        assert red_hat.calls() == []


def test_only_root_installs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    told = refusal(machine)
    assert "install_docker: only root can install packages: let host.user be root" in told
    assert "- Docker is not installed" in told
    assert machine.calls() == []


def test_a_system_without_a_known_package_manager(machine: Machine) -> None:
    (machine.bin / "apt-get").unlink()
    told = refusal(machine)
    assert "there is no apt-get, dnf or yum here: install Docker by hand" in told
    assert "install Docker and docker-compose as this system does it" in told


def test_one_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_command, "SECONDS", 0.2)
    code, said = system_command.run(["sh", "-c", "echo begun; sleep 60"])
    assert (code, said) == (-15, "begun\n")


def test_a_program_that_is_not_there() -> None:
    assert system_command.run(["/no/such"]) == (127, "/no/such: No such file or directory")

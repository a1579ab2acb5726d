"""The firewall and a real Docker daemon of its own: there before Docker's first start, and after its next (D11)."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import packages
from tests.host import namespaces
from tests.host.firewall_world import SSH, chains_of_ours, hostctl
from tests.host.namespaces import FAR, HOST, HOST6, NEAR, NEAR6, World

START_SECONDS = 60.0
CONTAINER_PORT = 8401
PORTS = [
    {"port": 8401, "owner": "closed", "open_to": []},
    {"port": 8411, "owner": "open", "open_to": ["0.0.0.0/0", "::/0"]},
    {"port": 9507, "owner": "limited", "open_to": [f"{NEAR}/32"]},
]
DEFINITION: dict[str, Any] = {"firewall": {"ssh_port": SSH, "network": "172.28.84.0/24", "ports": PORTS}}
STRANGERS = 8500
PUBLISHED = (8401, 8411, 9507, STRANGERS)
EVERYTHING = {(port, source) for port in PUBLISHED for source in (NEAR, FAR, NEAR6)}
CLOSED = {(8401, NEAR), (8401, FAR), (8401, NEAR6), (9507, FAR), (9507, NEAR6)}


class Docker:
    """A daemon in a network namespace, all of it in one folder."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._socket = f"unix://{folder}/d.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._ran = False

    def start(self) -> None:
        """Starts the daemon and waits until it answers."""
        # Not `ip netns exec`: that hides the cgroups.
        enter = ["nsenter", f"--net=/run/netns/{self._world.host.name}"]
        options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        words = [f"--{name}={self._folder / value}" for name, value in options.items()]
        command = [*enter, "dockerd", "-H", self._socket, *words, "--storage-driver=vfs", "--bip=172.30.0.1/16"]
        with (self._folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while self.run("info", check=False).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                reason = f"dockerd doesn't start here: {self._last_words()}"
                pytest.fail(reason) if self._ran else pytest.skip(reason)
            time.sleep(0.1)
        self._ran = True

    def stop(self) -> None:
        """Ends the daemon; its containers end with it."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(START_SECONDS)
            self._daemon = None

    def run(self, *words: str, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """One command of the client."""
        command = ["docker", "-H", self._socket, *words]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=check)

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "no word in its log"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An image with busybox in it and nothing else, as `docker import` takes it."""
    reason = namespaces.why_not() or packages.ensure(packages.DOCKER)
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("busybox")
    got = subprocess.run(
        ["apt-get", "download", "busybox-static"], cwd=folder, capture_output=True, text=True, check=False
    )
    found = list(folder.glob("*.deb"))
    if not found:
        pytest.skip(f"no busybox-static from apt-get: {got.stderr.strip()}")
    subprocess.run(["dpkg", "-x", found[0], folder / "root"], check=True)
    return subprocess.run(["tar", "-C", folder / "root", "-c", "bin"], capture_output=True, check=True).stdout


@pytest.fixture
def world(image: bytes) -> Iterator[World]:
    with namespaces.world() as made:
        made.host.listen(SSH)
        for source in (NEAR, FAR, NEAR6):
            made.outside.connection(HOST6 if ":" in source else HOST, SSH, source, 5).close()
        yield made


@pytest.fixture
def docker(world: World, tmp_path: Path) -> Iterator[Docker]:
    daemon = Docker(world, tmp_path)
    try:
        yield daemon
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            listed = daemon.run("ps", "-aq", check=False).stdout.decode().split()
            if listed:
                daemon.run("rm", "-f", "-v", *listed, check=False)
        daemon.stop()


def reached(world: World, expected: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """What answers, once it does: Docker says that a container runs before the last port is there."""
    deadline = time.monotonic() + 10
    while True:
        found: set[tuple[int, str]] = set()
        for port, source in EVERYTHING:
            with contextlib.suppress(OSError):
                if world.outside.connects(HOST6 if ":" in source else HOST, port, source):
                    found.add((port, source))
        if found == expected or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


@pytest.mark.timeout(300)
def test_published_ports(world: World, docker: Docker, image: bytes, tmp_path: Path) -> None:
    root = tmp_path / "root"
    hostctl(world.host, root, "apply", DEFINITION)  # before Docker ever ran here, as at boot
    docker.start()
    docker.run("import", "-", "tiny", stdin=image)
    publish = [word for port in PUBLISHED for word in ("-p", f"{port}:{CONTAINER_PORT}")]
    echo = ["/bin/busybox", "nc", "-ll", "-p", str(CONTAINER_PORT), "-e", "/bin/busybox", "cat"]
    docker.run("run", "-d", "--restart=unless-stopped", *publish, "tiny", *echo)
    assert reached(world, EVERYTHING - CLOSED) == EVERYTHING - CLOSED
    assert hostctl(world.host, root, "check", DEFINITION) == ""
    docker.stop()
    docker.start()
    assert hostctl(world.host, root, "check", DEFINITION) == ""
    assert hostctl(world.host, root, "apply", DEFINITION) == []
    assert reached(world, EVERYTHING - CLOSED) == EVERYTHING - CLOSED
    world.host.run("iptables", "-F", "DOCKER-USER")
    said = "DOCKER-USER does not lead to the firewall's chain BLOCKCHAIN-DAO-DOCKER (IPv4)"
    assert hostctl(world.host, root, "check", DEFINITION) == said
    assert hostctl(world.host, root, "apply", DEFINITION)
    assert reached(world, EVERYTHING - CLOSED) == EVERYTHING - CLOSED
    hostctl(world.host, root, "apply", {"firewall": None})
    assert {name for name in chains_of_ours(world.host) if name.startswith("BLOCKCHAIN")} == set()
    assert "-A FORWARD -j DOCKER-USER" in world.host.run("iptables", "-S", "FORWARD")  # Docker's own stays
    assert reached(world, EVERYTHING) == EVERYTHING

"""Who reaches a service through the edge: the rendered file at real addresses, with Docker's rule (D11, D19).

A host, somebody outside and a container, each a network namespace. Whoever is outside also stands for containers of
other Docker networks: they come to the gateway from an address of neither the host nor the services' network.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plan.render import host_files
from tests.golden.edge_run import haproxy
from tests.host import namespaces
from tests.host.namespaces import BRIDGE, GATEWAY, HOST, HOST6, Machine, World
from tests.plan.stacks import Change, drop, plan_of, put

pytestmark = pytest.mark.host

PUBLIC, PRIVATE = 8411, 8431
SERVICES = {
    "blockchain-gateway": {"port": PUBLIC, "open_to": ["0.0.0.0/0", "::/0"]},
    "blockchain-auth": {"port": PRIVATE},
}
STACK: list[Change] = [put("services", SERVICES), drop("editions"), drop("edition")]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """With two services, one public, behind an edge that runs."""
    reason = namespaces.why_not()
    if reason:
        pytest.skip(reason)
    program, started = haproxy(), list[subprocess.Popen[str]]()
    text = host_files(plan_of("tencent", *STACK))["edge/haproxy.cfg"]
    file = tmp_path / "haproxy.cfg"
    file.write_text(text.replace("/run/edge/", f"{tmp_path}/"))
    (tmp_path / "health").write_text("alive")
    with namespaces.world() as made:
        # As Docker does for each of its networks: what leaves it gets an address of the host's.
        rule = ["-s", "172.28.84.0/24", "!", "-o", BRIDGE, "-j", "MASQUERADE"]
        made.host.run("iptables", "-t", "nat", "-A", "POSTROUTING", *rule)
        try:
            for port in (PUBLIC, PRIVATE):
                serve = [sys.executable, "-m", "http.server", str(2 * port), "--bind", GATEWAY, "--directory", tmp_path]
                started.append(made.host.start(*serve))
            started.append(made.host.start(program, "-W", "-db", "-f", file))
            end = time.monotonic() + 30
            while asked(made.host, "127.0.0.1", PUBLIC) != 200 or asked(made.host, "127.0.0.1", PRIVATE) != 200:
                assert time.monotonic() < end
                time.sleep(0.2)
            yield made
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.communicate(timeout=30)


def asked(machine: Machine, address: str, port: int) -> int:
    """The status that a machine gets from a service there; 0 where the edge closes the connection."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with machine.socket(family) as connection:
        connection.settimeout(5)
        try:
            connection.connect((address, port))
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return int(connection.recv(12).split()[1])
        except (ConnectionError, IndexError):
            return 0


def test_private_is_for_the_host_and_the_services_network(world: World) -> None:
    for port in (PRIVATE, PUBLIC):
        assert asked(world.host, "127.0.0.1", port) == 200
        assert asked(world.host, GATEWAY, port) == 200
        assert asked(world.box, GATEWAY, port) == 200
        assert asked(world.outside, GATEWAY, port) == 0
    assert asked(world.outside, HOST, PRIVATE) == 0  # nobody listens there
    assert asked(world.host, HOST, PRIVATE) == 0


def test_public_is_for_everybody_by_ipv6_too(world: World) -> None:
    assert asked(world.outside, HOST, PUBLIC) == 200
    assert asked(world.outside, HOST6, PUBLIC) == 200
    assert asked(world.box, HOST, PUBLIC) == 200
    assert asked(world.outside, HOST6, PRIVATE) == 0

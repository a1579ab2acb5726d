"""Who holds a port (P6)."""

from __future__ import annotations

import os
import shutil
import socket

import pytest

from hostctl import ports
from hostctl.definitions import parse_service
from tests.hostctl import samples


def definition(port: int, bind: str = "") -> ports.ServiceDefinition:
    env = {"SERVICE_BIND": bind} if bind else {}
    return parse_service(samples.raw(samples.service(port=port, env=env)), "identity-service")


def told(port: int, bind: str = "", moving: bool = False, name: str = "") -> list[str]:
    found = ports.listeners([port])
    return ports.strangers(definition(port, bind), found, lambda pid: moving, lambda pid: name)


@pytest.mark.parametrize(
    ("ours", "theirs", "wanted"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::", True),
        ("127.0.0.1", "*", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::1", False),
        ("0.0.0.0", "10.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::1", "0.0.0.0", False),
        ("::", "127.0.0.1", True),
    ],
)
def test_which_addresses_collide(ours: str, theirs: str, wanted: bool) -> None:
    assert ports.collide(ours, theirs) is wanted


def test_a_stranger_is_named() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert told(port) == []  # bound is not listening
        listening.listen()
        assert told(port)[0].startswith(f"port {port} is taken by pid {os.getpid()} (")
        assert told(port, bind="127.0.0.9") == []
        assert told(port, bind="0.0.0.0") != []
        assert told(port, moving=True) == []
        assert told(port, name="governance-service") == [
            f"port {port} is taken by governance-service: if that one is being removed, run `up` again; "
            "else choose another port"
        ]
    assert told(port) == []


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as listening:
        try:
            listening.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        listening.listen()
        port = listening.getsockname()[1]
        assert [entry.address for entry in ports.listeners([port])] == ["::1"]
        assert told(port) == []


LSOF = """p412
u0
f7
n127.0.0.1:8301
f8
n[::1]:8301
p99
u0
f3
n*:8302
"""


def test_what_lsof_says() -> None:
    assert ports.parse_lsof(LSOF) == [
        ports.Listener("127.0.0.1", 8301, 412, "root"),
        ports.Listener("::1", 8301, 412, "root"),
        ports.Listener("*", 8302, 99, "root"),
    ]


@pytest.mark.skipif(shutil.which("lsof") is None, reason="no lsof here")
def test_lsof_itself() -> None:
    """How macOS is asked."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert [(entry.address, entry.pid) for entry in ports.lsof(port)] == [("127.0.0.1", os.getpid())]


def test_one_that_can_not_be_seen() -> None:
    hidden = [ports.Listener("0.0.0.0", 8302, 0, "postgres")]
    sentences = ports.strangers(definition(8302), hidden, lambda pid: False, lambda pid: "")
    assert sentences == [
        "port 8302 is taken by a process of user postgres (its pid can't be seen from here): "
        "end that, or choose another port"
    ]


def test_the_address_comes_from_the_definition() -> None:
    assert ports.bind_address(definition(1, "0.0.0.0")) == "0.0.0.0"
    assert ports.bind_address(definition(1, "localhost")) == "127.0.0.1"
    assert ports.bind_address(definition(1)) == "127.0.0.1"

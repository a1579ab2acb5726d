"""The rules as text, and what holds of them whatever is listed (D11)."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl import firewall_rules, firewall_table
from hostctl.firewall_definition import check
from hostctl.firewall_meaning import meaning
from tests.hostctl.filter_model import Packet, dropped, restore

pytestmark = pytest.mark.timeout(900)  # SOAK=1 asks for twenty times the examples

GOLDEN = Path(__file__).parent / "firewall"
NETWORK = "172.28.84.0/24"
FIREWALL: Any = {
    "ssh_port": 22,
    "network": NETWORK,
    "ports": [
        {"port": 8411, "owner": "blockchain-gateway", "open_to": ["0.0.0.0/0", "::/0"]},
        {"port": 3306, "owner": "mysql", "open_to": ["203.0.113.7/32", "10.0.0.0/8", "2001:db8::/32"]},
        {"port": 8401, "owner": "blockchain-service", "open_to": []},
        {"port": 8100, "owner": "future-shared-service", "open_to": ["0.0.0.0/0"]},
    ],
}


def lines(version: int, uplinks: tuple[str, ...] = ()) -> str:
    rules = firewall_rules.rules(FIREWALL, version, "/opt/blockchain-services", uplinks)
    fresh = {"INPUT": [], "FORWARD": [], "OUTPUT": []}
    return firewall_table.transaction(fresh, rules, firewall_rules.ports_of(FIREWALL))


@pytest.mark.parametrize("version", [4, 6])
def test_the_text_for_iptables_restore(version: int) -> None:
    assert lines(version) == (GOLDEN / f"fresh-host.v{version}").read_text()


def test_a_bridge_that_leads_outside_is_outside() -> None:
    text = lines(4, ("br-lan",))
    gate = re.findall(r"-A BLOCKCHAIN-DAO (.*)", text)
    assert gate.index("-i br-lan -j BLOCKCHAIN-DAO-PORTS") < gate.index("-i br-+ -j RETURN")
    docker = re.findall(r"-A BLOCKCHAIN-DAO-DOCKER (.*)", text)
    for rule in (
        "-i br-lan -m conntrack --ctstate DNAT -j BLOCKCHAIN-DAO-PUBLISHED",
        f"-d {NETWORK} -i br-lan -j BLOCKCHAIN-DAO-PUBLISHED",
    ):
        assert docker.index(rule) < docker.index("-i br-+ -j RETURN")


def test_names_fit() -> None:
    assert all(len(name) <= 28 for name in firewall_rules.CHAINS)


@pytest.mark.parametrize("root", ["/srv/my folder", '/srv/"quoted"', "/srv/\\", "/srv/区块链", "/" + "x" * 400])
def test_any_folder_fits_into_a_comment(root: str) -> None:
    words = firewall_rules.owner_words(root)
    assert re.fullmatch(r"of [A-Za-z0-9_./-]{1,200}", words)
    table = restore({}, firewall_table.transaction({}, firewall_rules.rules(FIREWALL, 4, root), []))
    assert firewall_table.owner(table) == words


V4 = st.builds(
    lambda bits, length: str(ipaddress.ip_network((bits, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
V6 = st.builds(
    lambda bits, length: str(ipaddress.IPv6Network((bits, length), strict=False)),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
)
PORTS = st.dictionaries(st.integers(1, 65535), st.lists(V4 | V6, max_size=4), max_size=8)


def firewall_of(ports: dict[int, list[str]], ssh: int) -> Any:
    listed = [{"port": p, "owner": "x", "open_to": to} for p, to in ports.items() if p != ssh]
    return {"ssh_port": ssh, "network": NETWORK, "ports": listed}


def everything(firewall: Any, version: int) -> firewall_table.Table:
    rules = firewall_rules.rules(firewall, version, "/x", ["br-lan"])
    return restore({}, firewall_table.transaction({}, rules, firewall_rules.ports_of(firewall)))


@given(PORTS, st.integers(1, 65535), st.sampled_from([4, 6]))
def test_every_drop_names_one_listed_port_and_never_sshs(ports: dict[int, list[str]], ssh: int, version: int) -> None:
    firewall = firewall_of(ports, ssh)
    found: list[str] = []
    check(firewall, "firewall", found)
    assert not found
    for rules in firewall_rules.rules(firewall, version, "/x").values():
        for rule in rules:
            said = meaning(rule)
            assert said.target in ("DROP", "RETURN", *firewall_rules.CHAINS)  # never ACCEPT: we open nothing
            if said.target == "DROP":
                matches = dict(said.matches)
                port = int(matches.get("--dport") or matches["--ctorigdstport"])
                assert port in firewall_rules.ports_of(firewall)
                assert port != ssh
                assert matches["-p"] == "tcp"


@st.composite
def packets(draw: st.DrawFn, version: int, ports: list[int]) -> Packet:
    bits = 32 if version == 4 else 128
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    port = draw(st.sampled_from(ports) | st.integers(1, 65535))
    docker = draw(st.booleans())
    return Packet(
        interface=draw(st.sampled_from(["lo", "docker0", "br-0123456789ab", "br-lan", "eth0", "wg0", "docker01"])),
        source=str(kind(draw(st.integers(0, 2**bits - 1)))),
        destination=draw(st.sampled_from(["172.28.84.7", "172.17.0.2"])) if version == 4 else "2001:db8::9",
        port=draw(st.integers(1, 65535)) if docker else port,
        asked_port=port,
        protocol=draw(st.sampled_from(["tcp", "tcp", "tcp", "udp", "icmp"])),
        state=draw(st.sampled_from(["NEW", "NEW", "ESTABLISHED", "RELATED"])),
        forwarded_by_docker=docker,
    )


@given(PORTS, st.integers(1, 65535), st.sampled_from([4, 6]), st.data())
def test_dropped_is_what_comes_new_from_outside_to_a_listed_port_from_an_unlisted_network(
    ports: dict[int, list[str]], ssh: int, version: int, data: st.DataObject
) -> None:
    firewall = firewall_of(ports, ssh)
    table = everything(firewall, version)
    packet = data.draw(packets(version, [ssh, *ports]))
    open_to = {entry["port"]: entry["open_to"] for entry in firewall["ports"]}
    address = ipaddress.ip_address(packet.source)
    closed = (
        packet.interface in ("br-lan", "eth0", "wg0", "docker01")
        and packet.protocol == "tcp"
        and packet.state == "NEW"
        and packet.asked_port in open_to
        and not any(address in ipaddress.ip_network(one) for one in open_to[packet.asked_port])
    )
    if not packet.forwarded_by_docker:
        assert dropped(table, "INPUT", packet) is closed
    to_us = packet.forwarded_by_docker or (version == 4 and packet.destination == "172.28.84.7")
    # What the host only passes on to somebody else is none of our business.
    assert dropped(table, "FORWARD", packet) is (closed and to_us)
    assert dropped(table, "DOCKER-USER", packet) is (closed and to_us)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ssh_port": 0}, "firewall.ssh_port must be a whole number from 1 to 65535"),
        ({"ssh_port": 3306}, "firewall.ports[1].port is 3306: it is SSH's, which is never closed"),
        ({"network": "172.28.84.1/24"}, "firewall.network is '172.28.84.1/24': a network is written like 10.0.0.0/8"),
        ({"network": "fd00::/64"}, "firewall.network is 'fd00::/64': the services' network is one of IPv4"),
        ({"ports": {}}, "firewall.ports must be a list"),
        ({"ports": [{"port": 1, "owner": "a"}]}, "firewall.ports[0].open_to is missing"),
        ({"ports": [{"port": 70000, "owner": "a", "open_to": []}]}, "firewall.ports[0].port must be a whole number"),
        ({"ports": [{"port": 1, "owner": "-j X", "open_to": []}]}, "firewall.ports[0].owner is '-j X': names are"),
        ({"ports": [{"port": 1, "owner": "a", "opento": []}]}, "opento is unknown (did you mean open_to?)"),
        ({"ports": [{"port": 1, "owner": "a", "open_to": []}] * 2}, "ports[1].port is 1: it is there already, for a"),
        *(
            ({"ports": [{"port": 1, "owner": "a", "open_to": [wrong]}]}, "firewall.ports[0].open_to[0] is ")
            for wrong in ("10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "0.0.0.0/0 -j ACCEPT", "::1", "2001:DB8::/32", 7, "")
        ),
    ],
)
def test_what_is_wrong_is_said(change: Any, message: str) -> None:
    found: list[str] = []
    check(FIREWALL | change, "firewall", found)
    assert message in "; ".join(found)

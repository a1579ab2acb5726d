"""What the firewall needs of a host, and what it says when it isn't there; the rules are tried in tests/host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostctl import boot_unit, firewall, iptables
from hostctl.errors import HostctlError
from hostctl.firewall_table import Table
from hostctl.iptables import IPV4, IPV6
from hostctl.layout import Layout
from tests.hostctl.filter_model import Refused, restore
from tests.hostctl.test_firewall_rules import FIREWALL

DEFINITION: dict[str, Any] = {"firewall": FIREWALL}
LAPTOP: dict[str, Any] = {"firewall": None}


class Kernel:
    """Tables in memory in the place of the programs; `refuses` counts how often a transaction fails first."""

    def __init__(self) -> None:
        self.tables: dict[int, Table] = {4: {"INPUT": []}, 6: {"INPUT": []}}
        self.texts: list[str] = []
        self.refuses = 0
        self.meanwhile: Any = None

    def run(self, family: iptables.Family, tool: str, arguments: Any, text: str = "") -> str:
        table = self.tables[family.version]
        if tool == "-save":
            rules = [f"-A {chain} {rule}" for chain, rules in table.items() for rule in rules]
            return "\n".join(["*filter", *(f":{chain} - [0:0]" for chain in table), *rules, "COMMIT"])
        self.texts.append(text)
        if self.refuses:
            self.refuses -= 1
            if self.meanwhile:
                self.meanwhile(table)
            raise HostctlError("iptables-restore failed: line 3 failed")
        try:
            self.tables[family.version] = restore(table, text)
        except Refused as error:
            raise HostctlError(f"iptables-restore failed: {error}") from None
        return ""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(iptables, "_run", made.run)
    monkeypatch.setattr(iptables, "missing", lambda families: "")
    monkeypatch.setattr(iptables, "families", lambda: [IPV4, IPV6])
    monkeypatch.setattr(firewall, "_ROUTES", ())
    monkeypatch.setattr(boot_unit, "RUNNING", tmp_path / "no systemd")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return made


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(str(tmp_path / "root"))
    made.make()
    return made


def test_a_laptop_has_no_firewall_and_needs_nothing_for_one(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("nothing of iptables is looked at")

    for name in ("_run", "missing", "families"):
        monkeypatch.setattr(iptables, name, never)
    assert firewall.problems(layout, LAPTOP) == []
    assert firewall.apply(layout, LAPTOP) == []
    assert firewall.check(layout, LAPTOP) == ""
    assert firewall.restore(layout) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hostctl.iptables.missing", lambda _: "x-save is missing here: install", "firewall: x-save is missing here"),
        ("os.geteuid", lambda: 1000, "firewall: only root can set it up: connect as root"),
        ("hostctl.boot_unit.problem", lambda: "a unit is somebody else's", "firewall: a unit is somebody else's"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_touched(
    layout: Layout, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, message: str
) -> None:
    monkeypatch.setattr(name, value)
    assert firewall.problems(layout, DEFINITION)[0].startswith(message)
    with pytest.raises(HostctlError, match=message):
        firewall.apply(layout, DEFINITION)
    assert kernel.texts == []
    assert not layout.firewall.exists()


def test_which_package_brings_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "_path", lambda name: None)
    message = "iptables-save is missing here: install the package iptables (apt-get install iptables)"
    assert iptables.missing([IPV4]) == message
    monkeypatch.setattr(iptables, "_path", lambda name: None if name.startswith("ip6") else "/sbin/" + name)
    assert iptables.missing([IPV4]) == ""
    assert iptables.missing([IPV4, IPV6]).startswith("ip6tables-save is missing here")


def test_a_host_without_ipv6(layout: Layout, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "families", lambda: [IPV4])
    words = firewall.apply(layout, DEFINITION)
    assert "firewall: this host has no IPv6, so there are no rules for it" in words
    assert firewall.check(layout, DEFINITION) == ""
    assert kernel.tables[6] == {"INPUT": []}


def test_families_of_this_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "_INTERFACES", tmp_path / "if_inet6")
    assert iptables.families() == [IPV4]
    (tmp_path / "if_inet6").touch()  # at boot no address is there yet
    assert iptables.families() == [IPV4, IPV6]


def test_a_second_time_there_is_nothing_to_do(layout: Layout, kernel: Kernel) -> None:
    words = firewall.apply(layout, DEFINITION)
    assert words == [
        "firewall: IPv4: 1 ports closed to the outside, 1 open to their networks only, 2 open to all",
        "firewall: IPv6: 2 ports closed to the outside, 1 open to their networks only, 1 open to all",
        "firewall: no systemd runs here: run `hostctl firewall restore` at boot, before Docker starts",
    ]
    assert len(kernel.texts) == 2
    written = layout.firewall.stat().st_mtime_ns
    assert firewall.apply(layout, DEFINITION) == firewall.restore(layout) == []
    assert len(kernel.texts) == 2
    assert layout.firewall.stat().st_mtime_ns == written


def test_docker_may_start_in_between(layout: Layout, kernel: Kernel) -> None:
    def docker_starts(table: Table) -> None:
        table["DOCKER-USER"] = ["-j RETURN"]

    kernel.refuses, kernel.meanwhile = 1, docker_starts
    assert firewall.apply(layout, DEFINITION)
    assert kernel.tables[4]["DOCKER-USER"] == ["-j BLOCKCHAIN-DAO-DOCKER", "-j RETURN"]
    assert firewall.check(layout, DEFINITION) == ""


def test_a_refusal_without_a_reason_is_not_tried_again(layout: Layout, kernel: Kernel) -> None:
    kernel.refuses = 1
    with pytest.raises(HostctlError, match="line 3 failed; it is as it was before"):
        firewall.apply(layout, DEFINITION)
    assert len(kernel.texts) == 1
    assert not layout.firewall.exists()


def test_who_was_killed_before_the_rules_were_active_is_finished_by_the_next(layout: Layout, kernel: Kernel) -> None:
    layout.firewall.write_text(json.dumps({"firewall": FIREWALL, "uplinks": []}))
    assert firewall.check(layout, DEFINITION) == "the firewall is missing (IPv4)"
    assert firewall.apply(layout, DEFINITION)
    assert firewall.check(layout, DEFINITION) == ""


def test_the_record_for_the_next_boot_is_checked_too(layout: Layout, kernel: Kernel) -> None:
    firewall.apply(layout, DEFINITION)
    layout.firewall.unlink()
    assert firewall.check(layout, DEFINITION) == "the firewall on record for the next boot is not this one"
    firewall.apply(layout, DEFINITION)
    assert firewall.check(layout, DEFINITION) == ""


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"firewall": {}, "uplinks": []}',
        json.dumps({"firewall": {**FIREWALL, "ssh_port": 3306}, "uplinks": []}),
        json.dumps({"firewall": FIREWALL, "uplinks": ["eth0 -j ACCEPT"]}),
        json.dumps({"firewall": FIREWALL, "uplinks": "br-lan"}),
    ],
)
def test_an_edited_record_is_refused(layout: Layout, kernel: Kernel, text: str) -> None:
    layout.firewall.write_text(text)
    with pytest.raises(HostctlError, match="is damaged"):
        firewall.restore(layout)
    assert kernel.texts == []


def test_a_bridge_that_leads_outside(
    layout: Layout, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenStack and old Debian bridges: br-lan has the default route, and would pass for Docker's by its name."""
    routes, routes6 = tmp_path / "route", tmp_path / "ipv6_route"
    routes.write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "br-lan\t00000000\t0100630A\t0003\t0\t0\t0\t00000000\n"
        "br-0123456789ab\t0054 1CAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
    )
    zero = "0" * 32
    routes6.write_text(
        f"{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 00000003       br-wan\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        f"{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 00000003     eth0\n"
    )
    monkeypatch.setattr(
        firewall, "_ROUTES", ((routes, 0, 1, "00000000"), (routes6, 9, 0, zero), (tmp_path / "none", 0, 1, ""))
    )
    firewall.apply(layout, DEFINITION)
    assert json.loads(layout.firewall.read_text())["uplinks"] == ["br-lan", "br-wan"]
    gate = kernel.tables[4]["BLOCKCHAIN-DAO"]
    assert gate.index("-i br-lan -j BLOCKCHAIN-DAO-PORTS") < gate.index("-i br-+ -j RETURN")
    routes.write_text("")  # as at boot
    assert firewall.check(layout, DEFINITION) == ""
    assert firewall.apply(layout, DEFINITION) == []


def test_rules_are_read_back(layout: Layout, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "change", lambda *_: None)  # says that it did, and didn't
    with pytest.raises(HostctlError, match=r"what is active is not what was asked for \(the firewall is missing"):
        firewall.apply(layout, DEFINITION)


def test_it_cannot_be_read(layout: Layout, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    firewall.apply(layout, DEFINITION)

    def fails(*_: object) -> Any:
        raise HostctlError("iptables-save failed: permission denied")

    monkeypatch.setattr(iptables, "_run", fails)
    said = "the firewall can't be read: iptables-save failed: permission denied"
    assert firewall.check(layout, DEFINITION) == said


def test_nothing_to_do_is_no_transaction(layout: Layout, kernel: Kernel) -> None:
    assert firewall.remove(layout) == []
    firewall.apply(layout, DEFINITION)
    kernel.texts.clear()
    assert firewall.remove(layout) == ["firewall: IPv4 rules removed", "firewall: IPv6 rules removed"]
    assert kernel.tables == {
        4: {"INPUT": [], "FORWARD": [], "OUTPUT": []},
        6: {"INPUT": [], "FORWARD": [], "OUTPUT": []},
    }
    assert firewall.remove(layout) == []
    assert len(kernel.texts) == 2

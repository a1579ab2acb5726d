"""What a host that closes its chain INPUT is told of the edge's ports: `ufw.v4` is what ufw 0.36.2 itself made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostctl import input_chain, iptables
from hostctl.definitions import parse_host, parse_service
from hostctl.errors import HostctlError
from hostctl.input_chain import look, text, wanted
from plan.render import definitions
from tests.hostctl import samples
from tests.plan.stacks import plan_of, put

UFW = (Path(__file__).parent / "firewall/ufw.v4").read_text()
SPEC: Any = {"file": "x.yml", "network": "blockchain-alibaba", "subnet": "172.28.85.0/24", "gateway": "172.28.85.1"}
ALL = ("0.0.0.0/0",)
PORTS: dict[int, tuple[str, ...]] = {8501: ALL, 8502: ALL, 8503: ("10.0.0.0/8", "203.0.113.7/32")}
START = "this host closes what it was not told to let in ({}), and the edge's ports are its own: allow them{}: "
OPEN = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n{}COMMIT\n"
SHUT = OPEN.replace("INPUT ACCEPT", "INPUT DROP")
NETWORKS = "-A INPUT -s 172.28.85.0/24 -d 172.28.85.1/32 -j ACCEPT\n"


class System:
    """The programs of a host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.saved, self.missing = OPEN.format(""), ""
        self.answers: dict[str, tuple[int, str]] = {}
        monkeypatch.setattr(iptables, "saved", lambda family: self.saved)
        monkeypatch.setattr(iptables, "missing", lambda families: self.missing)
        monkeypatch.setattr(input_chain.shutil, "which", self._which)
        monkeypatch.setattr(input_chain.system_command, "run", lambda words: self.answers[" ".join(words)])

    def _which(self, name: str, path: str) -> str | None:
        return name if any(words.startswith(name) for words in self.answers) else None

    def told(self) -> str:
        found = look(SPEC, PORTS)
        return "" if found is None or not (found.ports or found.network) else text(found, SPEC)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


def test_ufw_is_told_in_its_own_words_and_then_has_nothing_left_to_be_told(system: System) -> None:
    system.saved = UFW
    assert system.told() == START.format("ufw", "") + (
        "`ufw allow 8501,8502/tcp`; `ufw allow proto tcp from 10.0.0.0/8 to any port 8503`; "
        "`ufw allow proto tcp from 203.0.113.7/32 to any port 8503`; "
        "`ufw allow from 172.28.85.0/24 to 172.28.85.1`, by which services call each other"
    )
    # What these commands made of it, by ufw itself.
    for rule in (
        "-p tcp -m multiport --dports 8501,8502 -j ACCEPT",
        "-s 10.0.0.0/8 -p tcp -m tcp --dport 8503 -j ACCEPT",
        "-s 203.0.113.7/32 -p tcp -m tcp --dport 8503 -j ACCEPT",
        "-s 172.28.85.0/24 -d 172.28.85.1/32 -j ACCEPT",
    ):
        system.saved = system.saved.replace(
            "-A ufw-user-limit -m", f"-A ufw-user-input {rule}\n-A ufw-user-limit -m", 1
        )
    assert system.told() == ""


def test_ufw_that_closes_nothing(system: System) -> None:
    system.saved = UFW.replace(":INPUT DROP", ":INPUT ACCEPT")
    system.saved = system.saved.replace("-A ufw-skip-to-policy-input -j DROP", "-A ufw-skip-to-policy-input -j ACCEPT")
    assert system.told() == ""


@pytest.mark.parametrize(
    "saved",
    [
        OPEN.format(""),
        OPEN.format("-A INPUT -s 198.51.100.0/24 -j DROP\n"),  # of some, not of all
        OPEN.format("-A INPUT -p tcp -m tcp --dport 23 -j REJECT --reject-with icmp-port-unreachable\n"),
        OPEN.format(":OURS - [0:0]\n-A INPUT -j OURS\n-A OURS -i lo -j RETURN\n-A OURS -j DROP\n"),  # who knows
        SHUT.format("-A INPUT -j ACCEPT\n"),
        SHUT.format(f"{NETWORKS}-A INPUT -p tcp -m tcp --dport 8000:9000 -j ACCEPT\n"),
        SHUT.format(f"{NETWORKS}-A INPUT -p tcp -m multiport --dports 22,8501:8503 -j ACCEPT\n"),
        SHUT.format("-A INPUT -i br-+ -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 8501:8503 -j ACCEPT\n"),
    ],
)
def test_hosts_that_let_them_in(system: System, saved: str) -> None:
    system.saved = saved
    assert system.told() == ""


@pytest.mark.parametrize(
    "saved",
    [
        SHUT.format(""),
        SHUT.format("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n"),
        SHUT.format("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -p udp -j ACCEPT\n"),
        SHUT.format("-A INPUT -s 192.0.2.0/24 -j ACCEPT\n"),  # those who keep the host
        OPEN.format("-A INPUT -j REJECT --reject-with icmp-host-prohibited\n"),
        OPEN.format(':LAST - [0:0]\n-A INPUT -j LAST\n-A LAST -m comment --comment "the rest" -j DROP\n'),
        OPEN.format(":A - [0:0]\n:B - [0:0]\n-A INPUT -j A\n-A A -j B\n-A B -j A\n-A INPUT -j DROP\n"),  # in a ring
    ],
)
def test_hosts_that_do_not(system: System, saved: str) -> None:
    system.saved = saved
    assert system.told() == START.format("iptables", "") + (
        "`iptables -I INPUT -p tcp -m multiport --dports 8501,8502 -j ACCEPT`; "
        "`iptables -I INPUT -s 10.0.0.0/8 -p tcp -m multiport --dports 8503 -j ACCEPT`; "
        "`iptables -I INPUT -s 203.0.113.7/32 -p tcp -m multiport --dports 8503 -j ACCEPT`; "
        "`iptables -I INPUT -s 172.28.85.0/24 -d 172.28.85.1 -j ACCEPT`, by which services call each other; "
        "and where your rules are kept"
    )


def test_more_ports_than_one_rule_takes(system: System) -> None:
    system.saved = SHUT.format(NETWORKS)
    found = look(SPEC, dict.fromkeys(range(8501, 8518), ALL))
    assert found is not None
    said = text(found, SPEC)
    assert said.count("-m multiport") == 2
    assert "--dports 8516,8517 " in said


def test_firewalld_whose_rules_iptables_does_not_show(system: System) -> None:
    system.answers = {
        "firewall-cmd --state": (0, "running\n"),
        "firewall-cmd --list-ports": (0, "22/tcp 8000-8501/tcp 8502/udp\n"),
        "firewall-cmd --get-active-zones": (0, "public\n  interfaces: eth0\n"),
    }
    rule = "--add-rich-rule='rule family=ipv4 source address={} port port=8503 protocol=tcp accept'"
    assert system.told() == START.format("firewalld", "") + (
        "`firewall-cmd --permanent --add-port=8502/tcp`; "
        f"`firewall-cmd --permanent {rule.format('10.0.0.0/8')}`; "
        f"`firewall-cmd --permanent {rule.format('203.0.113.7/32')}`; "
        "`firewall-cmd --permanent --zone=trusted --add-source=172.28.85.0/24`, by which services call each other; "
        "then `firewall-cmd --reload`"
    )
    system.answers["firewall-cmd --list-ports"] = (0, "8501-8503/tcp\n")
    system.answers["firewall-cmd --get-active-zones"] = (0, "docker\n  interfaces: docker0 br-0123456789ab\n")
    assert system.told() == ""
    system.answers = {"firewall-cmd --state": (252, "not running\n")}
    assert system.told() == ""


def test_a_table_of_nftables_that_iptables_does_not_show(system: System) -> None:
    chain = "\t\ttype filter hook input priority filter; policy drop;\n"
    system.answers = {"nft list chains": (0, "table ip filter {\n\tchain INPUT {\n" + chain + "\t}\n}\n")}
    assert system.told() == ""  # iptables' own, which was looked at
    system.answers = {"nft list chains": (0, "table inet filter {\n\tchain input {\n" + chain + "\t}\n}\n")}
    assert system.told() == START.format("nft inet filter", " unless its rules do already (they are not read here)") + (
        "TCP ports 8501,8502; TCP ports 8503 from 10.0.0.0/8; TCP ports 8503 from 203.0.113.7/32; "
        "all from 172.28.85.0/24 to 172.28.85.1, by which services call each other"
    )


# --- whose ports, and when it is said ---


class Where:
    """A run on a host of this stack."""

    def __init__(self, stack: str, *changes: Any) -> None:
        self.made = definitions(plan_of(stack, *changes))
        self.definition = parse_host(samples.raw(self.made["host"]))

    def host(self) -> Any:
        return {"definition": self.definition}

    def databases(self) -> Any:
        return {"mysql": None, "postgres": None}

    def service(self, name: str) -> Any:
        return parse_service(samples.raw(self.made[f"service/{name}"]), name)

    def warning(self, name: str = "edge") -> str:
        return input_chain.warning(self, self.service(name))  # pyright: ignore[reportArgumentType]


def test_ports_that_somebody_outside_is_to_reach_through_the_edge() -> None:
    where = Where("alibaba", put("databases.mysql.open_to", ["198.51.100.0/24"]))
    found = wanted(where.definition, {"mysql"})
    assert found == dict.fromkeys((8501, 8502, 8503, 8504), ALL)
    limited = Where("alibaba", put("services.identity-service.open_to", ["198.51.100.0/24"]))
    assert wanted(limited.definition, set())[8502] == ("198.51.100.0/24",)
    assert 9507 in wanted(where.definition, set())  # a database's own, were it the edge's


def test_it_is_said_when_the_edge_comes_up_and_of_nobody_else(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    system.saved = UFW
    where = Where("alibaba")
    said = where.warning()
    assert said.startswith(START.format("ufw", "") + "`ufw allow 8501,8502,8503,8504/tcp`; `ufw allow from 172.28.85.")
    assert capsys.readouterr().err == f"warning: {said}\n"
    assert where.warning("identity-service") == ""
    system.saved = OPEN.format("")
    assert (where.warning(), capsys.readouterr().err) == ("", "")


def test_what_cant_be_looked_at_is_said(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system.missing = "iptables-save is missing here"
    told = "whether this host lets anybody in to the edge can't be looked at: "
    assert Where("alibaba").warning() == told + "iptables-save is missing here"

    def refuses(family: Any) -> str:
        raise HostctlError("iptables-save failed: Permission denied")

    system.missing = ""
    monkeypatch.setattr(iptables, "saved", refuses)
    assert Where("alibaba").warning() == told + "iptables-save failed: Permission denied"
    assert capsys.readouterr().err.count("warning: ") == 2

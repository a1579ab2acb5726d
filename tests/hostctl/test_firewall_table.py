"""Our share of the table among other people's rules: put there, compared, put back, taken away (D11)."""

from __future__ import annotations

import copy

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hostctl import firewall_rules
from hostctl.firewall_meaning import meaning, same
from hostctl.firewall_rules import CHAINS, DOCKER_GATE, GATE, PORTS
from hostctl.firewall_table import Table, difference, parse, removal, transaction, undo
from tests.hostctl.filter_model import restore
from tests.hostctl.test_firewall_rules import FIREWALL, firewall_of
from tests.hostctl.test_firewall_rules import PORTS as LISTED

pytestmark = pytest.mark.timeout(900)  # SOAK=1 asks for twenty times the examples

LISTENING = firewall_rules.ports_of(FIREWALL)
WANTED = firewall_rules.rules(FIREWALL, 4, "/opt/blockchain-services")
FRESH: Table = {"INPUT": [], "FORWARD": [], "OUTPUT": []}
DOCKER = ["-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-o docker0 -j DOCKER"]


def docker_starts(table: Table) -> Table:
    """What Docker does to the table, also to a DOCKER-USER that it finds (moby, setupIPChains)."""
    after = copy.deepcopy(table)
    after.setdefault("DOCKER", ["-d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 3306 -j ACCEPT"])
    user = after.setdefault("DOCKER-USER", [])
    if "-j RETURN" not in user:
        user.append("-j RETURN")
    rest = [rule for rule in after["FORWARD"] if rule not in ("-j DOCKER-USER", *DOCKER)]
    after["FORWARD"] = ["-j DOCKER-USER", *DOCKER, *rest]
    return after


def put(table: Table, wanted: firewall_rules.Rules = WANTED, ports: list[int] = LISTENING) -> Table:
    return restore(table, transaction(table, wanted, ports))


def others(name: str, *targets: str) -> st.SearchStrategy[list[str]]:
    """Rules as other people write them."""
    matches = ["", "-i eth0 ", "-i lo ", "-s 10.0.0.0/8 ", "-p tcp -m tcp --dport 3306 ", "-p udp -m udp --dport 53 "]
    rules = st.builds(
        lambda match, target: f"{match}-j {target}",
        st.sampled_from([*matches, "-m conntrack --ctstate RELATED,ESTABLISHED ", '-m comment --comment "a b" ']),
        st.sampled_from(["ACCEPT", "DROP", "RETURN", "LOG", *targets]),
    )
    return st.lists(rules, max_size=4)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A host's table: other people's chains, with and without Docker, our own from an earlier run or not."""
    table: Table = {"f2b-sshd": draw(others("f2b-sshd"))}
    table |= {name: draw(others(name, "f2b-sshd")) for name in FRESH}
    if draw(st.booleans()):
        table["DOCKER-USER"] = draw(others("DOCKER-USER", "f2b-sshd").filter(bool))
    if draw(st.booleans()):
        table = docker_starts(table)
    return table


@given(tables(), LISTED)
def test_whatever_is_there_ours_is_first_and_the_second_time_changes_nothing(table: Table, listed: dict) -> None:
    firewall = firewall_of(listed, 22)
    wanted, ports = firewall_rules.rules(firewall, 4, "/x"), firewall_rules.ports_of(firewall)
    assert difference(table, wanted, ports) == "the firewall is missing"
    after = put(table, wanted, ports)
    assert difference(after, wanted, ports) == ""
    assert transaction(after, wanted, ports) == ""


@given(tables(), st.lists(st.sampled_from(["older", "docker", "newer"]), max_size=4))
def test_removing_leaves_everything_of_others_as_it_is(table: Table, events: list[str]) -> None:
    older = firewall_rules.rules(firewall_of({1: [], 2: ["10.0.0.0/8"]}, 22), 4, "/x")
    alone, after = table, put(table)
    for event in events:
        if event == "docker":
            alone, after = docker_starts(alone), docker_starts(after)
        else:
            after = put(after, older if event == "older" else WANTED)
    cleared = restore(after, removal(after))
    assert cleared == alone
    assert removal(cleared) == ""


@given(tables(), st.booleans(), st.data())
def test_what_was_before_is_put_back_rule_by_rule(table: Table, had_one: bool, data: st.DataObject) -> None:
    before = put(table, firewall_rules.rules(firewall_of({1: [], 2: []}, 22), 4, "/x")) if had_one else table
    if had_one:  # somebody moved it about
        before["INPUT"] = data.draw(st.permutations(before["INPUT"]))
        before["DOCKER-USER"] = data.draw(st.permutations(before["DOCKER-USER"]))
    after = put(before)
    assert restore(after, undo(before, after)) == before
    assert restore(before, undo(before, before)) == before


@given(tables())
def test_docker_may_start_and_nothing_has_to_be_done(table: Table) -> None:
    after = docker_starts(put(table))
    if "DOCKER-USER" in table:
        assume(not transaction(after, WANTED, LISTENING))  # somebody's rule there may let a port past us: repaired
    assert difference(after, WANTED, LISTENING) == ""


def edited(chain: str, index: int, rule: str | None) -> Table:
    table = put(docker_starts(FRESH))
    table[chain][index : index + 1] = [] if rule is None else [rule]
    return table


def without(chain: str) -> Table:
    table = put(docker_starts(FRESH))
    table[chain] = []
    return table


FIRST_DROP = next(index for index, rule in enumerate(WANTED[PORTS]) if rule.endswith("-j DROP"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (edited(PORTS, FIRST_DROP, None), "firewall rule for port 3306 is missing"),
        (edited(PORTS, FIRST_DROP, "-p tcp -m tcp --dport 3306 -j ACCEPT"), "firewall rule for port 3306 is not ours"),
        (edited(PORTS, 99, "-p tcp -m tcp --dport 22 -j DROP"), "firewall rule for port 22 is not ours"),
        (edited(GATE, 1, None), f"the firewall's chain {GATE} was edited"),
        (edited(PORTS, 99, "-j ACCEPT"), f"the firewall's chain {PORTS} was edited"),
        (edited("INPUT", 0, None), f"INPUT does not lead to the firewall's chain {GATE}"),
        (edited("INPUT", 0, f"-i eth0 -j {GATE}"), f"INPUT does not lead to the firewall's chain {GATE}"),
        (without("DOCKER-USER"), f"DOCKER-USER does not lead to the firewall's chain {DOCKER_GATE}"),
        (without("FORWARD"), f"FORWARD does not lead to the firewall's chain {DOCKER_GATE}"),
        ({k: v for k, v in put(FRESH).items() if k != PORTS}, f"the firewall's chain {PORTS} is missing"),
        (FRESH, "the firewall is missing"),
    ],
)
def test_what_differs_is_said_and_repaired(table: Table, words: str) -> None:
    assert difference(table, WANTED, LISTENING) == words
    after = put(table)
    assert difference(after, WANTED, LISTENING) == ""


@pytest.mark.parametrize(
    ("rule", "harmless"),
    [
        ("-j ACCEPT", False),
        ("-p tcp -m tcp --dport 3306 -j ACCEPT", False),
        ("-p tcp -m tcp --dport 3000:4000 -j ACCEPT", False),
        ("-p tcp -m multiport --dports 80,3306 -j ACCEPT", False),
        ("-p tcp -m tcp ! --dport 22 -j ACCEPT", False),
        ("-i eth0 -j RETURN", False),
        ("-j somebodys", False),
        ("-g f2b-sshd", False),
        ("-j NFQUEUE --queue-num 0", False),
        ('-m comment --comment "no end -j DROP', False),
        ("-p tcp -m tcp --dport 22 -j ACCEPT", True),
        ("-p tcp -m multiport --dports 80,443,8000:8010 -j ACCEPT", True),
        ("-p udp -m udp --dport 3306 -j ACCEPT", True),
        ("-p icmp -j ACCEPT", True),
        ("-i lo -j ACCEPT", True),
        ("-i br-0123456789ab -j ACCEPT", True),
        ("-m state --state RELATED,ESTABLISHED -j ACCEPT", True),
        ("-p tcp -m multiport --dports 22 -j f2b-sshd", True),
        ("-j REJECT --reject-with icmp-port-unreachable", True),
        ("-j LOG", True),
        ("-j f2b-sshd", True),
    ],
)
def test_a_rule_in_front_of_ours_matters_when_it_lets_a_port_in(rule: str, harmless: bool) -> None:
    """fail2ban puts its rule first at each start: nothing of ours differs by that, and nothing has to be moved."""
    table = put(FRESH | {"f2b-sshd": ["-s 198.51.100.1/32 -j REJECT", "-j RETURN"], "somebodys": ["-j ACCEPT"]})
    table["INPUT"].insert(0, rule)
    found = difference(table, WANTED, LISTENING)
    assert found == ("" if harmless else f"INPUT lets connections past the firewall's chain {GATE}")
    if not harmless:
        lines = transaction(table, WANTED, LISTENING).splitlines()
        assert lines == ["*filter", f"-D INPUT -j {GATE}", f"-I INPUT 1 -j {GATE}", "COMMIT"]


def test_what_is_forwarded_has_the_containers_port_by_then() -> None:
    table = put(docker_starts(FRESH))
    table["DOCKER-USER"].insert(0, "-p tcp -m tcp --dport 80 -j ACCEPT")  # 80 in a container may be any port of ours
    said = f"DOCKER-USER lets connections past the firewall's chain {DOCKER_GATE}"
    assert difference(table, WANTED, LISTENING) == said
    assert put(table)["DOCKER-USER"][0] == f"-j {DOCKER_GATE}"


def test_a_rule_is_the_same_however_it_is_written() -> None:
    rule = "-s 10.0.0.0/8 -p tcp -m conntrack --ctorigdstport 3306 --ctdir ORIGINAL -m comment --comment mysql -j DROP"
    other = (
        '-p tcp -s 10.0.0.0/255.0.0.0 -m comment --comment "mysql" -m conntrack --ctdir ORIGINAL '
        "--ctorigdstport 3306 -j DROP"
    )
    assert same([rule], [other])
    for changed in (rule.replace("DROP", "ACCEPT"), rule.replace("/8", "/9"), rule.replace("-s", "! -s")):
        assert not same([rule], [changed])
    assert meaning("-j REJECT --reject-with tcp-reset") != meaning("-j REJECT")


def test_what_iptables_save_prints() -> None:
    saved = """\
# Generated by iptables-save v1.8.9 (nf_tables) on Wed Nov 25 00:57:28 2026
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
COMMIT
*filter
:INPUT ACCEPT [12:3456]
:DOCKER-USER - [0:0]
-A INPUT -p tcp -m comment --comment "a \\"b\\"" -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"""
    rule = '-p tcp -m comment --comment "a \\"b\\"" -j ACCEPT'
    assert parse(saved) == {"INPUT": [rule], "DOCKER-USER": ["-j RETURN"]}
    assert parse("") == {}


def test_nothing_of_ours_is_nothing_to_remove() -> None:
    assert removal(docker_starts(FRESH)) == ""
    assert removal({}) == ""
    assert not set(CHAINS) & set(restore(put({}), removal(put({}))))

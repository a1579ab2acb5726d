"""What a stack file may say of updates and the edge, and what follows from it (issue 5)."""

from __future__ import annotations

from typing import Any

import pytest

from plan import summary
from plan.models import Behind, EdgePlan, ServicePlan
from plan.render import definitions
from plan.sums import room, second
from tests.plan.stacks import RECREATE, STACKS, Change, changed, drop, notices_of, plan_of, problems_of, put, refusal

TENCENT = "101.33.251.158"
FULL = put("host.memory", "1795MB")
"""Alibaba without a byte to spare."""
GATEWAY = "services.blockchain-gateway"
AUTH = "services.blockchain-auth"
CERTIFICATES = put("edge.certificates", "/etc/blockchain-dao/tls")
THUMBPRINT = "Zx0_-" + "a" * 38
ACME = put("edge.acme_thumbprint", THUMBPRINT)


def edge_of(stack: str, *changes: Change) -> EdgePlan:
    edge = plan_of(stack, *changes).edge
    assert edge is not None
    return edge


def service_of(name: str, *changes: Change, stack: str = "tencent") -> ServicePlan:
    return next(service for service in plan_of(stack, *changes).running if service.name == name)


def test_servers_have_an_edge_unless_they_say_recreate() -> None:
    assert edge_of("alibaba").port == 8519
    assert edge_of("tencent").port == 8419
    assert plan_of("local").edge is None
    assert plan_of("local", put("runtime", "docker")).edge is None
    for stack in ("tencent", "alibaba"):
        without = plan_of(stack, *RECREATE[stack])
        assert without.edge is None
        assert all(service.behind is None for service in without.running)


def test_what_an_edge_has_unless_it_is_told() -> None:
    edge = edge_of("alibaba")
    takes = (edge.resources.cpus, edge.resources.memory, edge.resources.disk)
    assert takes == (0.2, 32_000_000, 50_000_000)
    assert (edge.max_connections, edge.timeout, edge.certificates, edge.acme_thumbprint) == (100, 60, None, None)
    assert (edge.image, edge.image_from) == ("blockchain-dao/edge:0.1.0", "build")
    told = {"port": 8410, "cpus": 0.3, "memory": "400MB", "disk": "60MB", "max_connections": 2000, "timeout": 90}
    edge = edge_of("tencent", put("edge", told), CERTIFICATES, ACME)
    takes = (edge.resources.cpus, edge.resources.memory, edge.resources.disk)
    assert (edge.port, *takes, edge.max_connections) == (8410, 0.3, 400_000_000, 60_000_000, 2000)
    assert edge.timeout == 90
    assert (edge.certificates, edge.acme_thumbprint) == ("/etc/blockchain-dao/tls", THUMBPRINT)


def test_a_small_range_has_the_edge_at_its_end() -> None:
    services = put("services", {"mine": {"port": 8601, "own": True}})
    base = [services, drop("editions"), drop("edition")]
    assert edge_of("tencent", put("range", "8600-8610"), *base).port == 8610


def test_services_behind_it_have_a_pair_and_so_have_editions() -> None:
    plan = plan_of("tencent", put("defaults.settle", 3))
    members = [member for edition in plan.editions for member in edition.members]
    assert len(members) == 12  # also of those that are off: they come back
    for service in (*plan.services, *members):
        pair = (2 * service.port, 2 * service.port + 1)
        assert service.behind == Behind("172.28.84.1", pair, rolling=True)
        assert service.settle == 3
    without = plan_of("tencent", *RECREATE["tencent"])
    assert all(member.behind is None for edition in without.editions for member in edition.members)


def test_the_running_editions_containers_count_for_an_update_and_others_do_not() -> None:
    large = put("editions.dao.services.dao-service-1.memory", "300MB")
    plan = plan_of("tencent", large)
    twice = second(plan)
    assert twice is not None
    assert (twice.name, twice.takes.memory) == ("dao-service-1", 300_000_000)
    assert second(plan_of("tencent", put("editions.future.services.future-service-1.memory", "300MB"))) != twice
    # 7MB more than the host has for both: that one alone is stopped and started.
    missing = room(plan) - 300_000_000 + 7_000_000
    full = [large, put("existing.dao-ai.memory", f"{512 + missing // 1_000_000}MB")]
    assert [one for one in notices_of("tencent", *full) if "beside it" in one] == [
        "editions.dao.services.dao-service-1.memory: the host lacks 7MB for a second one beside it: "
        "an update stops it first, and loses requests"
    ]
    made = definitions(plan_of("tencent", *full))
    assert made["service/dao-service-1"]["edge"]["update"] == "recreate"
    assert made["service/dao-service-2"]["edge"]["update"] == "rolling"
    # One that is off takes nothing, and has nothing to be told of.
    off = [*full, put("edition", "future")]
    assert not [one for one in notices_of("tencent", *off) if "beside it" in one]


def test_how_long_a_new_version_must_stay_ready() -> None:
    settle = [put("defaults.settle", 5), put(f"{AUTH}.settle", 0)]
    made = definitions(plan_of("tencent", *settle))
    assert made["service/identity-service"]["edge"]["settle_seconds"] == 5
    assert made["service/blockchain-auth"]["edge"]["settle_seconds"] == 0
    before = definitions(plan_of("tencent"))
    for name in ("service/identity-service", "service/blockchain-auth"):
        assert made[name]["digest"] == before[name]["digest"]  # no reason to start it again
    assert problems_of("tencent", put("defaults.settle", -1))[0].startswith("defaults.settle: ")


@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_a_laptop_refuses_what_it_would_not_do(runtime: str) -> None:
    at = put("runtime", runtime)
    why = f"runtime {runtime} has no edge: it is for servers; drop it"
    for updates in ("rolling", "recreate"):
        assert problems_of("local", at, put("updates", updates)) == [
            f"updates: runtime {runtime} knows one way to update a service; drop it"
        ]
    assert problems_of("local", at, put("edge", {})) == [f"edge: {why}"]
    tls = put("services.identity-service.tls", 443)
    assert problems_of("local", at, tls) == [f"services.identity-service.tls: {why}"]


def test_without_an_edge_its_settings_are_refused() -> None:
    why = "there is no edge with `updates: recreate`; drop it, or write `updates: rolling`"
    recreate = put("updates", "recreate")
    assert problems_of("alibaba", recreate, put("edge.port", 8419)) == [f"edge: {why}"]
    tls = put("services.identity-service.tls", 443)
    assert problems_of("alibaba", recreate, tls) == [f"services.identity-service.tls: {why}"]


def test_a_pause_that_does_nothing_is_noticed() -> None:
    both = [put("defaults", {"settle": 3}), put("services.identity-service.settle", 3)]
    text = "does nothing: with runtime process a new version gets requests at once"
    assert notices_of("local", *both) == [f"defaults.settle: {text}", f"services.identity-service.settle: {text}"]
    said = notices_of("tencent", *RECREATE["tencent"], both[1])
    assert f"services.identity-service.settle: {text.replace('runtime process', '`updates: recreate`')}" in said
    assert not [notice for notice in notices_of("tencent", both[1]) if "settle" in notice]


@pytest.mark.parametrize("stack", STACKS)
def test_nobody_else_is_called_edge(stack: str) -> None:
    port = {"local": 8305, "tencent": 8405, "alibaba": 8505}[stack]
    own = put("services.edge", {"port": port, "own": True, "memory": "6.3MB", "cpus": 0.01})
    assert problems_of(stack, *RECREATE[stack], own) == [
        "services.edge: is the name of what owns a server's documented ports (`updates: rolling`); choose another name"
    ]


VALUES: list[tuple[str, Any, str]] = [
    ("updates", "rollling", "'rollling' is not known; did you mean 'rolling'?"),
    ("edge", 5, "5 is not a map of names to values; write a map of names to values"),
    ("edge.prot", 8410, "is not a known key; did you mean 'port'?"),
    ("edge.image", "haproxy", "'haproxy' names no version: what runs would change without a change here; "),
    ("edge.memory", "1MB", "'1MB' is less than a container can have; write 6.3MB or more, for example 64MB"),
    ("edge.max_connections", 5, "5 can't be; input should be greater than or equal to 10"),
    ("edge.timeout", 4, "4 can't be; input should be greater than or equal to 5"),
    ("edge.timeout", 301, "301 can't be; input should be less than or equal to 300"),
    ("edge.timeout", "1m", "'1m' is not a whole number; "),
    ("edge.certificates", "tls", "'tls' is no folder of a server; write an absolute folder of the server, "),
    ("edge.certificates", "/etc/../root", "'/etc/../root' is no folder of a server; "),
    ("edge.certificates", "/", "'/' is no folder of a server; "),
    ("edge.certificates", "/etc/tls:rw", "'/etc/tls:rw' is no folder of a server; "),
    ("edge.certificates", "/etc/tls\n", "'/etc/tls\\n' is no folder of a server; "),
    ("edge.acme_thumbprint", "a" * 42, f"'{'a' * 42}' is no thumbprint of an ACME account; write the 43 characters"),
    ("edge.acme_thumbprint", '"' * 43, '\'""'),
    ("edge.acme_thumbprint", "a" * 43 + "\n", f"'{'a' * 43}\\n' is no thumbprint of an ACME account; "),
    (f"{GATEWAY}.tls", 70000, "70000 is not a port; "),
]


@pytest.mark.parametrize(("key", "value", "told"), VALUES, ids=[f"{key}={value!r}" for key, value, _ in VALUES])
def test_values_that_cant_be(key: str, value: Any, told: str) -> None:
    (only,) = problems_of("tencent", put(key, value))
    assert only.startswith(f"{key}: {told}")


EDGES_MOST = "edge.max_connections"
ECHOES: list[tuple[str, Change, str]] = [
    # With what nobody can read, nobody knows whether there is an edge, or what it has.
    ("alibaba", put("runtime", "x"), "runtime"),
    ("alibaba", put("updates", "x"), "updates"),
    ("tencent", put("edge", "x"), "edge"),
    ("tencent", put("edge.certificates", "x"), "edge.certificates"),
    ("tencent", put(f"{GATEWAY}.public", "x"), f"{GATEWAY}.public"),
    ("tencent", put("edge.port", "x"), "edge.port"),
    ("tencent", put("edge", {"memory": "x", "max_connections": 400, "certificates": "/etc/tls"}), "edge.memory"),
    ("tencent", put("edge", {"memory": "20MB", "max_connections": "x", "certificates": "/etc/tls"}), EDGES_MOST),
    ("tencent", put("range", "x"), "range"),
]


@pytest.mark.parametrize(("stack", "change", "key"), ECHOES, ids=[key for _, _, key in ECHOES])
def test_what_cant_be_read_isnt_told_twice(stack: str, change: Change, key: str) -> None:
    """Beside settings that only an edge makes right, or wrong: TLS, a port that is none behind an edge, full memory."""
    name = "blockchain-gateway" if stack == "tencent" else "identity-service"
    more = [put(f"services.{name}.tls", 443), CERTIFICATES]
    if stack == "alibaba":
        more += [put("existing.ai.ports", [17002]), put("databases.redis.memory", "110MB")]
    else:
        more += [put("existing.dao-ai.ports", [20])]
    assert [one.split(":")[0] for one in problems_of(stack, *more, change)] == [key]


def test_the_edges_default_port_is_where_the_documents_have_infrastructure() -> None:
    assert not [one for stack in ("tencent", "alibaba") for one in notices_of(stack) if "edge" in one]  # P10


def test_certificates_for_nobody_are_noticed() -> None:
    assert "edge.certificates: does nothing: no service has tls" in notices_of("tencent", CERTIFICATES)
    assert not [one for one in notices_of("tencent", CERTIFICATES, put(f"{GATEWAY}.tls", 443)) if "certif" in one]


def test_a_thumbprint_without_tls_opens_a_port_for_the_first_certificate() -> None:
    text = "edge.acme_thumbprint: opens port 80 to everybody for the first certificate: no service has tls yet"
    assert text in notices_of("tencent", ACME)
    assert text not in notices_of("tencent", ACME, CERTIFICATES, put(f"{GATEWAY}.tls", 443))


def test_connections_are_as_many_as_the_edges_memory_holds() -> None:
    assert edge_of("tencent").max_connections == edge_of("alibaba").max_connections == 100
    assert edge_of("tencent", CERTIFICATES).max_connections == 70  # TLS takes more
    assert edge_of("tencent", put("edge.memory", "64MB")).max_connections == 390
    assert edge_of("tencent", put("edge.memory", "7GB"), put("host.memory", "30GB")).max_connections == 20000
    for memory in ("23MB", "32MB", "64MB", "500MB"):
        most = edge_of("tencent", put("edge.memory", memory)).max_connections
        plan_of("tencent", put("edge", {"memory": memory, "max_connections": most}))


def test_more_connections_than_its_memory_holds_are_refused_with_what_would_do() -> None:
    assert problems_of("tencent", put("edge.max_connections", 400)) == [
        "edge.max_connections: with 400 connections from outside the edge takes 65MB at most, its limit is 32MB; "
        "write edge.memory: 65MB, or edge.max_connections: 100"
    ]
    plan_of("tencent", put("edge", {"max_connections": 400, "memory": "65MB"}))
    plan_of("tencent", put("edge", {"max_connections": 100}))
    assert problems_of("tencent", put("edge.memory", "20MB")) == [
        "edge.memory: with 10 connections from outside the edge takes 22.1MB at most, its limit is 20MB; "
        "write edge.memory: 22.1MB"
    ]


def test_a_second_edge_takes_memory_too() -> None:
    """Where it is larger than any service."""
    large = put("edge.memory", "200MB")
    error = refusal("tencent", changed("tencent", large, put("host.cpus", 1)))
    assert ["a", "second", "edge", "while", "it", "is", "updated", "0", "200MB", "0MB"] in [
        line.split() for line in error.appendix.splitlines()
    ]
    plan = plan_of("tencent", large)
    missing = room(plan) - 200_000_000 + 3_000_000
    full = [large, put("existing.dao-ai.memory", f"{512 + missing // 1_000_000}MB")]
    assert [one for one in notices_of("tencent", *full) if "beside it" in one] == [
        "edge.memory: the host lacks 3MB for a second edge beside it, which takes over when its image or limits change"
    ]
    assert not [one for one in notices_of("tencent", large) if "beside it" in one]


def test_where_a_service_with_tls_answers() -> None:
    def answers(*changes: Change) -> str:
        plan = plan_of("tencent", CERTIFICATES, *changes)
        return summary.endpoint(plan, next(one for one in plan.services if one.name == "blockchain-gateway"))

    assert answers() == f"http://{TENCENT}:8411"
    assert answers(put(f"{GATEWAY}.tls", 443)) == f"https://{TENCENT}:443"
    assert answers(put(f"{GATEWAY}.tls", 8411)) == f"https://{TENCENT}:8411"
    ports = summary.ports(plan_of("tencent", CERTIFICATES, put(f"{GATEWAY}.tls", 443)))
    assert ports == summary.ports(plan_of("tencent", *RECREATE["tencent"]))


def test_a_memory_that_holds_no_second_one_is_told_with_what_lacks() -> None:
    """A host that holds a second one of the largest, to the byte."""
    assert all(service.behind and service.behind.rolling for service in plan_of("alibaba", FULL).services)
    assert not [one for one in notices_of("alibaba", FULL) if "beside it" in one]
    changes = [FULL, put("services.blockchain-audit.memory", "52MB")]
    assert service_of("blockchain-audit", *changes, stack="alibaba").behind == Behind(
        "172.28.85.1", (17028, 17029), rolling=False
    )
    # It takes a MB more itself, too: nobody else's fits any more.
    said = [one for one in notices_of("alibaba", *changes) if "beside it" in one]
    lacks = "for a second one beside it: an update stops it first, and loses requests"
    assert f"services.blockchain-audit.memory: the host lacks 2MB {lacks}" in said
    assert f"services.dao-reward.memory: the host lacks 1MB {lacks}" in said
    assert len(said) == 12
    small = [FULL, put("services.blockchain-audit.memory", "50MB"), put("services.blockchain-cache.memory", "52MB")]
    said = [one for one in notices_of("alibaba", *small) if "beside it" in one]
    assert said == [f"services.blockchain-cache.memory: the host lacks 1MB {lacks}"]
    made = definitions(plan_of("alibaba", *small))
    assert made["service/blockchain-cache"]["edge"]["update"] == "recreate"
    assert made["service/blockchain-audit"]["edge"]["update"] == "rolling"


def test_how_it_is_updated_is_no_reason_to_start_a_service_again() -> None:
    before = definitions(plan_of("alibaba", FULL))["service/identity-service"]
    after = definitions(plan_of("alibaba", FULL, put("existing.ai.memory", "121MB")))["service/identity-service"]
    assert (before["edge"]["update"], after["edge"]["update"]) == ("rolling", "recreate")
    assert before["digest"] == after["digest"]
    assert before["parts"] == after["parts"]


def test_the_table_shows_the_second_one() -> None:
    error = refusal("tencent", changed("tencent", put("host.cpus", 1), put(f"{AUTH}.memory", "100MB")))
    rows = [line.split("  ")[0] for line in error.appendix.splitlines()]
    assert rows[17:20] == ["dao-shared-service", "edge", "a second blockchain-auth while it is updated"]
    assert "a second blockchain-auth while it is updated" + "      0     100MB       0MB" in error.appendix
    widths = {len(line) for line in error.appendix.splitlines()}
    assert len(widths) == 1


def test_a_host_that_cant_hold_the_edge_is_too_small() -> None:
    one_more = [FULL, put("existing.ai.memory", f"{120 + 51 + 1}MB")]
    assert problems_of("alibaba", *one_more) == [
        "host.memory: everything takes 1.796GB, the host has 1.795GB; lower limits by 1MB (table below)"
    ]
    plan_of("alibaba", *one_more, put("updates", "recreate"))
    plan_of("alibaba", FULL, put("existing.ai.memory", f"{120 + 51}MB"))

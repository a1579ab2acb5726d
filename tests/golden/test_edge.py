"""haproxy.cfg as HAProxy itself reads it, and the edge's container as docker-compose does (issue 5, D11, D19)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostctl.assemble import assemble
from plan.models import EnvironmentPlan
from plan.render import definitions, edge_definition, host_files
from tests.golden.edge_run import haproxy, there
from tests.golden.test_golden import HERE
from tests.plan.stacks import RECREATE, Change, drop, plan_of, put

SERVERS = ("tencent", "alibaba")
GATEWAY = {"tencent": "172.28.84.1", "alibaba": "172.28.85.1"}
CERTIFICATES = put("edge.certificates", "/etc/blockchain-dao/tls")
EDITION = {"dao-service-1", "dao-service-2", "dao-service-3", "dao-shared-service"}
THUMBPRINT = "Zx0_-" + "a" * 38
ACME = put("edge.acme_thumbprint", THUMBPRINT)
TLS = put("services.blockchain-gateway.tls", 443)
OWN_TLS = put("services.blockchain-gateway.tls", 8411)
LIMITED = [
    "tcp-request connection track-sc0 int(1) table edge.outside",
    "tcp-request connection reject if { sc0_conn_cur,sub(proc.outside) gt 0 }",
]
LARGE = {
    "memory": "4GB",
    "certificates": "/etc/blockchain-dao/tls",
    "acme_thumbprint": THUMBPRINT,
    "timeout": 300,
    "max_connections": 20000,
}
VARIANTS: dict[str, tuple[str, list[Change]]] = {
    "tencent": ("tencent", []),
    "alibaba": ("alibaba", []),
    "tls": ("tencent", [CERTIFICATES, TLS]),
    "tls on its own port": ("tencent", [CERTIFICATES, OWN_TLS]),
    "acme": ("tencent", [ACME]),
    "ipv6": ("tencent", [CERTIFICATES, TLS, ACME, put("host.address", "2001:db8::7")]),
    "everything": ("tencent", [CERTIFICATES, TLS, ACME, put("host.memory", "30GB"), put("edge", LARGE)]),
    "nothing behind it": ("tencent", [put("services", {}), drop("editions"), drop("edition")]),
}


def section(text: str, name: str) -> list[str]:
    """The lines of one section of haproxy.cfg."""
    found = re.search(rf"^(?:listen|frontend|backend) {re.escape(name)} from \w+\n((?:    .*\n)+)", text, re.MULTILINE)
    assert found is not None, name
    return [line.strip() for line in found[1].splitlines()]


def configuration(stack: str, *changes: Change) -> str:
    return host_files(plan_of(stack, *changes))["edge/haproxy.cfg"]


def checked(text: str) -> subprocess.CompletedProcess[str]:
    argv = [haproxy(), "-c", "-f", "/dev/stdin"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_haproxy_takes_it(certificates: Path, tmp_path: Path, variant: str) -> None:
    stack, changes = VARIANTS[variant]
    text = there(configuration(stack, *changes), certificates, tmp_path)
    done = checked(text)
    # Not a word either: what is only warned of today is refused by the next version.
    assert (done.returncode, done.stdout + done.stderr) == (0, "Configuration file is valid\n")


def test_haproxy_refuses_what_is_wrong() -> None:
    """Else the test above would say nothing."""
    text = configuration("tencent").replace("server a", "server b", 1)
    assert checked(text).returncode != 0


def test_outside_are_the_public_ones_only() -> None:
    alibaba = configuration("alibaba")
    for name, port in (("blockchain-service", 8501), ("identity-service", 8502), ("governance-service", 8503)):
        assert section(alibaba, f"{name}.outside") == [
            f"bind 0.0.0.0:{port}",
            *LIMITED,
            f"default_backend {name}",
        ]  # D19
        assert section(alibaba, f"{name}.inside")[0] == f"bind 127.0.0.1:{port}"
    assert section(alibaba, "blockchain-audit.inside") == [
        "bind 127.0.0.1:8514",  # D11
        "bind 172.28.85.1:8514",
        "tcp-request connection reject unless { src 127.0.0.0/8 172.28.85.0/24 } || { src_is_local }",
        "default_backend blockchain-audit",
    ]
    assert section(alibaba, "blockchain-audit") == ["server a 172.28.85.1:17028", "server b 172.28.85.1:17029"]
    assert "frontend blockchain-audit.outside" not in alibaba
    assert alibaba.count("bind 0.0.0.0:") == 4
    private = configuration("tencent", put("services.blockchain-gateway.public", False))
    # An edition's are public unless they say otherwise.
    assert section(private, "dao-service-1.outside")[0] == "bind 0.0.0.0:8200"
    assert section(private, "dao-service-1") == ["server a 172.28.84.1:16400", "server b 172.28.84.1:16401"]
    assert private.count("0.0.0.0") == private.count("from outside\n") == len(EDITION)
    assert section(private, "blockchain-gateway.inside")[:2] == ["bind 127.0.0.1:8411", "bind 172.28.84.1:8411"]


def test_outside_a_service_with_tls_answers_tls_only() -> None:
    text = configuration("tencent", CERTIFICATES, TLS)
    assert section(text, "blockchain-gateway.inside")[:2] == ["bind 127.0.0.1:8411", "bind 172.28.84.1:8411"]
    assert section(text, "blockchain-gateway.tls") == [
        "bind 0.0.0.0:443 ssl crt /tls alpn http/1.1",
        *LIMITED,
        "use_backend %[str(blockchain-gateway)]",
    ]
    assert "frontend blockchain-gateway.outside" not in text
    assert text.count("0.0.0.0") == 1 + len(EDITION)


def test_ipv6_is_listened_on_where_the_stack_file_says_that_somebody_comes_by_it() -> None:
    """A host without IPv6 could not listen there, and the edge would not start."""
    assert "::" not in configuration("tencent", CERTIFICATES, TLS, ACME)
    to = put("services.blockchain-gateway.open_to", ["203.0.113.0/24", "2001:db8::/32"])
    text = configuration("tencent", to)
    assert section(text, "blockchain-gateway.outside")[:2] == ["bind 0.0.0.0:8411", "bind [::]:8411 v6only"]
    assert text.count("[::]") == 1
    text = configuration("tencent", to, CERTIFICATES, TLS, ACME)
    assert section(text, "blockchain-gateway.tls")[1] == "bind [::]:443 v6only ssl crt /tls alpn http/1.1"
    assert section(text, "edge.acme")[:2] == ["bind 0.0.0.0:80", "bind [::]:80 v6only"]
    text = configuration("tencent", put("host.address", "2001:db8::7"))
    assert text.count("[::]") == text.count("0.0.0.0") == 1 + len(EDITION)
    edition = put("editions.dao.services.dao-service-1", {"port": 8200, "open_to": ["::/0"]})
    assert "bind [::]:8200 v6only" in section(configuration("tencent", edition), "dao-service-1.outside")
    private = put("services.blockchain-auth", {"port": 8431, "open_to": ["::/0"]})
    assert "[::]" not in configuration("tencent", private)


def test_the_edition_that_runs_is_behind_it_and_the_others_are_not_there() -> None:
    text = configuration("tencent")
    assert {name for name in sections({"edge/haproxy.cfg": text}) if "-service-" in name or "shared" in name} == EDITION
    closed = configuration("tencent", put("editions.dao.services.dao-service-1.public", False))
    assert section(closed, "dao-service-1.inside")[:2] == ["bind 127.0.0.1:8200", "bind 172.28.84.1:8200"]
    assert "frontend dao-service-1.outside" not in closed
    future = configuration("tencent", put("edition", "future"))
    assert "bind 0.0.0.0:8100" in section(future, "future-shared-service.outside")
    assert "dao-service" not in future


@pytest.mark.parametrize("stack", SERVERS)
def test_a_service_brings_its_own_section(stack: str) -> None:
    made = definitions(plan_of(stack))
    name = "service/identity-service"
    rest = {key: one["parts"] for key, one in made.items() if key != name}
    assert "identity-service" not in assemble(rest)["edge/haproxy.cfg"]
    # The edge's own top comes first, whoever converged first; and it may be alone.
    assert sections(assemble({key: made[key]["parts"] for key in (name, "service/edge")})) == ["identity-service"]
    assert sections(assemble({"service/edge": made["service/edge"]["parts"]})) == []


def sections(files: dict[str, str]) -> list[str]:
    """The services behind it."""
    return re.findall(r"^backend (\S+) from behind$", files["edge/haproxy.cfg"], re.MULTILINE)


@pytest.mark.parametrize("stack", SERVERS)
def test_what_hostctl_is_told_of_a_service_behind_it(stack: str) -> None:
    made = definitions(plan_of(stack))
    port = {"tencent": 8402, "alibaba": 8502}[stack]
    one = made["service/identity-service"]
    assert one["edge"] == {
        "address": GATEWAY[stack],
        "ports": [2 * port, 2 * port + 1],
        "update": "rolling",
        "ready": "/ready",
        "settle_seconds": 2,
    }
    assert one["launch"]["bind"] == GATEWAY[stack]
    assert one["ports"] == [port]
    assert one["health"]["url"] == f"http://127.0.0.1:{port}/health"  # through the edge
    without = definitions(plan_of(stack, *RECREATE[stack]))
    for key, other in (*without.items(), *((key, made[key]) for key in ("host", "database/mysql", "service/edge"))):
        assert "edge" not in other, key


@pytest.mark.parametrize("stack", SERVERS)
def test_what_hostctl_is_told_of_the_edge(stack: str) -> None:
    plan = plan_of(stack, CERTIFICATES)
    assert plan.edge is not None
    made = edge_definition(plan, plan.edge)
    port = {"tencent": 8419, "alibaba": 8519}[stack]
    assert definitions(plan)["service/edge"] == made
    assert (made["kind"], made["name"], made["ports"], made["secrets"]) == ("service", "edge", [port], [])
    assert made["health"]["url"] == f"http://127.0.0.1:{port}/health"
    assert made["files"] == {"edge/haproxy.cfg": {"mode": "0644"}}
    assert made["proxy"] == {
        "file": "edge/haproxy.cfg",
        "sockets": "run/edge",
        "certificates": "/etc/blockchain-dao/tls",
    }
    assert definitions(plan_of(stack))["service/edge"]["proxy"]["certificates"] == ""
    assert made["launch"] == {
        "image": "blockchain-dao/edge:0.1.0",
        "bind": "127.0.0.1",
        "env": {},
        "resources": {"cpus": 0.2, "memory": 32_000_000},
    }
    files = {part["file"] for part in made["parts"]}
    assert files == {"edge/haproxy.cfg", plan.host.layout.compose_file} | (
        {"prometheus-blockchain-alibaba.yml"} if stack == "alibaba" else set()
    )
    tags = {"consul": "http://127.0.0.1:8500", "address": "127.0.0.1", "tags": ["alibaba", "infrastructure"]}
    assert made.get("register") == (tags if stack == "alibaba" else None)


def test_with_tls_consul_and_prometheus_ask_the_host_itself() -> None:
    tls = [CERTIFICATES, put("services.identity-service.tls", 443)]
    made = definitions(plan_of("alibaba", *tls))["service/identity-service"]
    assert made["register"]["address"] == "127.0.0.1"
    (target,) = [part["text"] for part in made["parts"] if part["file"].startswith("prometheus")]
    assert '["127.0.0.1:8502"]' in target


def block(plan: EnvironmentPlan) -> dict[str, Any]:
    return yaml.safe_load(host_files(plan)[plan.host.layout.compose_file])["services"]["edge"]


def test_the_edges_container() -> None:
    found = block(plan_of("alibaba"))
    assert found["network_mode"] == "host"  # it binds the documented ports itself
    assert "ports" not in found
    assert found["command"] == ["haproxy", "-W", "-db", "-x", "/run/edge/stats.sock", "-f", "/edge/haproxy.cfg"]
    assert (found["restart"], found["read_only"], found["user"]) == ("always", True, "0:0")  # D25
    assert (found["cap_drop"], found["cap_add"]) == (["ALL"], ["KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"])
    assert found["volumes"] == ["./edge:/edge:ro", "./run/edge:/run/edge"]
    assert (found["stop_signal"], found["stop_grace_period"]) == ("SIGUSR1", "70s")
    assert found["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert found["labels"]["blockchain-dao.stack"] == "alibaba"  # D5
    assert found["labels"]["blockchain-dao.service"] == "edge"
    mounted = block(plan_of("alibaba", CERTIFICATES))["volumes"]
    assert mounted == [*found["volumes"], "/etc/blockchain-dao/tls:/tls:ro"]


def test_an_edge_changes_nothing_of_the_documented_env_file() -> None:
    for stack in SERVERS:
        name = f"blockchain-{stack}.env"
        assert (HERE / stack / name).read_bytes() == (HERE / f"{stack}-recreate" / name).read_bytes()  # P4


@pytest.mark.parametrize("seconds", [5, 60, 300])
def test_who_ends_first(seconds: int) -> None:
    """A request that may still be answered is cut by nobody: not by a reload, nor by Docker."""
    plan = plan_of("tencent", put("edge.timeout", seconds))
    text = host_files(plan)["edge/haproxy.cfg"]
    numbers = {key: int(found) for key, found in re.findall(r"^    ([a-z -]+) (\d+)s$", text, re.MULTILINE)}
    assert numbers["timeout server"] == numbers["timeout client"] == seconds
    assert seconds < numbers["hard-stop-after"] < int(block(plan)["stop_grace_period"].removesuffix("s"))
    assert definitions(plan)["service/edge"]["stop"]["grace_seconds"] == seconds + 10

"""haproxy.cfg as HAProxy itself reads it, and the edge's container as docker-compose does (issue 5, D11, D19)."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostctl.assemble import assemble
from plan.models import EnvironmentPlan
from plan.render import definitions, edge_definition, host_files
from tests import packages
from tests.golden.test_golden import HERE
from tests.hostctl.samples import digest_of
from tests.plan.stacks import RECREATE, Change, drop, plan_of, put
from tests.ports import free_ports

SERVERS = ("tencent", "alibaba")
GATEWAY = {"tencent": "172.28.84.1", "alibaba": "172.28.85.1"}
CERTIFICATES = put("edge.certificates", "/etc/blockchain-dao/tls")
EDITION = {"dao-service-1", "dao-service-2", "dao-service-3", "dao-shared-service"}
THUMBPRINT = "Zx0_-" + "a" * 38
ACME = put("edge.acme_thumbprint", THUMBPRINT)
TLS = put("services.blockchain-gateway.tls", 443)
OWN_TLS = put("services.blockchain-gateway.tls", 8411)
VARIANTS: dict[str, tuple[str, list[Change]]] = {
    "tencent": ("tencent", []),
    "alibaba": ("alibaba", []),
    "tls": ("tencent", [CERTIFICATES, TLS]),
    "tls on its own port": ("tencent", [CERTIFICATES, OWN_TLS]),
    "acme": ("tencent", [ACME]),
    "everything": ("tencent", [CERTIFICATES, TLS, ACME, put("edge.max_connections", 20000)]),
    "nothing behind it": ("tencent", [put("services", {}), drop("editions"), drop("edition")]),
}


def section(text: str, name: str) -> list[str]:
    """The lines of one section of haproxy.cfg."""
    found = re.search(rf"^(?:listen|frontend) {re.escape(name)}\n((?:    .*\n)+)", text, re.MULTILINE)
    assert found is not None, name
    return [line.strip() for line in found[1].splitlines()]


def configuration(stack: str, *changes: Change) -> str:
    return host_files(plan_of(stack, *changes))["edge/haproxy.cfg"]


def there(text: str, certificates: Path, sockets: Path) -> str:
    """The configuration with this machine's folders in the place of the container's."""
    return text.replace("crt /tls", f"crt {certificates}").replace("/run/edge/", f"{sockets}/")


@pytest.fixture(scope="module")
def haproxy() -> str:
    reason = packages.ensure(packages.EDGE)
    if reason is not None:
        pytest.skip(f"HAProxy: {reason}")
    found = packages.program("haproxy")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a team puts it on the server: a certificate and its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = tmp_path_factory.mktemp("made") / "key.pem", folder / "site.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv = [*make, "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    certificate.write_text(certificate.read_text() + key.read_text())
    return folder


def checked(haproxy: str, text: str) -> subprocess.CompletedProcess[str]:
    argv = [haproxy, "-c", "-f", "/dev/stdin"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_haproxy_takes_it(haproxy: str, certificates: Path, tmp_path: Path, variant: str) -> None:
    stack, changes = VARIANTS[variant]
    text = there(configuration(stack, *changes), certificates, tmp_path)
    done = checked(haproxy, text)
    # Not a word either: what is only warned of today is refused by the next version.
    assert (done.returncode, done.stdout + done.stderr) == (0, "Configuration file is valid\n")


def test_haproxy_refuses_what_is_wrong(haproxy: str) -> None:
    """Else the test above would say nothing."""
    text = configuration("tencent").replace("server a", "server b", 1)
    assert checked(haproxy, text).returncode != 0


def test_outside_are_the_public_ones_only() -> None:
    alibaba = configuration("alibaba")
    for name, port in (("blockchain-service", 8501), ("identity-service", 8502), ("governance-service", 8503)):
        assert section(alibaba, name)[:1] == [f"bind 0.0.0.0:{port}"]  # D19
        assert len([line for line in section(alibaba, name) if line.startswith("bind")]) == 1
    assert section(alibaba, "blockchain-audit") == [
        "bind 127.0.0.1:8514",  # D11
        "bind 172.28.85.1:8514",
        "server a 172.28.85.1:17028",
        "server b 172.28.85.1:17029",
    ]
    assert alibaba.count("bind 0.0.0.0:") == 4
    private = configuration("tencent", put("services.blockchain-gateway.public", False))
    assert section(private, "dao-service-1") == [
        "bind 0.0.0.0:8200",
        "server a 172.28.84.1:16400",
        "server b 172.28.84.1:16401",
    ]  # an edition's are public unless they say otherwise
    assert private.count("0.0.0.0") == len(EDITION)
    assert section(private, "blockchain-gateway")[:2] == ["bind 127.0.0.1:8411", "bind 172.28.84.1:8411"]


def test_outside_a_service_with_tls_answers_tls_only() -> None:
    found = section(configuration("tencent", CERTIFICATES, TLS), "blockchain-gateway")
    assert found[:4] == [
        "bind 127.0.0.1:8411",
        "bind 172.28.84.1:8411",
        "bind 0.0.0.0:443 ssl crt /tls alpn h2,http/1.1",
        "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
    ]
    assert configuration("tencent", CERTIFICATES, TLS).count("0.0.0.0") == 1 + len(EDITION)


def test_the_edition_that_runs_is_behind_it_and_the_others_are_not_there() -> None:
    text = configuration("tencent")
    assert {name for name in sections({"edge/haproxy.cfg": text}) if "-service-" in name or "shared" in name} == EDITION
    closed = configuration("tencent", put("editions.dao.services.dao-service-1.public", False))
    assert section(closed, "dao-service-1")[:2] == ["bind 127.0.0.1:8200", "bind 172.28.84.1:8200"]
    future = configuration("tencent", put("edition", "future"))
    assert "bind 0.0.0.0:8100" in section(future, "future-shared-service")
    assert "dao-service" not in future


@pytest.mark.parametrize("stack", SERVERS)
def test_a_service_brings_its_own_section(stack: str) -> None:
    made = definitions(plan_of(stack))
    name = "service/identity-service"
    rest = {key: one["parts"] for key, one in made.items() if key != name}
    assert "identity-service" not in assemble(rest)["edge/haproxy.cfg"]
    # The edge's own top comes first, whoever converged first; and it may be alone.
    assert sections(assemble({key: made[key]["parts"] for key in (name, "service/edge")})) == [
        "edge",
        "identity-service",
    ]
    assert sections(assemble({"service/edge": made["service/edge"]["parts"]})) == ["edge"]


def sections(files: dict[str, str]) -> list[str]:
    return re.findall(r"^listen (\S+)", files["edge/haproxy.cfg"], re.MULTILINE)


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
    assert made["digest"] == digest_of(made["launch"], made["secrets"], made["health"], made["stop"])
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
    assert (found["stop_signal"], found["stop_grace_period"]) == ("SIGUSR1", "30s")
    assert found["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert found["labels"]["blockchain-dao.stack"] == "alibaba"  # D5
    assert found["labels"]["blockchain-dao.service"] == "edge"
    mounted = block(plan_of("alibaba", CERTIFICATES))["volumes"]
    assert mounted == [*found["volumes"], "/etc/blockchain-dao/tls:/tls:ro"]


def test_an_edge_changes_nothing_of_the_documented_env_file() -> None:
    for stack in SERVERS:
        name = f"blockchain-{stack}.env"
        assert (HERE / stack / name).read_bytes() == (HERE / f"{stack}-recreate" / name).read_bytes()  # P4


@pytest.fixture
def running(haproxy: str, certificates: Path, tmp_path: Path) -> Iterator[dict[str, int]]:
    """The edge with everything on, on free ports of this machine; its ports by what they are for."""
    own, gate, outside, acme, *pairs = free_ports(6)
    changes = [CERTIFICATES, TLS, ACME, put("services", {"blockchain-gateway": {"port": 8411, "tls": 443}})]
    text = configuration("tencent", *changes, drop("editions"), drop("edition"))
    moved = {
        "bind 127.0.0.1:8419": f"bind 127.0.0.1:{own}",
        "    bind 172.28.84.1:8411\n": "",
        "bind 127.0.0.1:8411": f"bind 127.0.0.1:{gate}",
        "bind 0.0.0.0:443": f"bind 127.0.0.1:{outside}",
        "bind 0.0.0.0:80": f"bind 127.0.0.1:{acme}",
        "server a 172.28.84.1:16822": f"server a 127.0.0.1:{pairs[0]}",
        "server b 172.28.84.1:16823": f"server b 127.0.0.1:{pairs[1]}",
        "    user haproxy\n    group haproxy\n": "",
    }
    for old, new in moved.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = tmp_path / "haproxy.cfg"
    file.write_text(there(text, certificates, tmp_path))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([haproxy, "-W", "-db", "-f", str(file)], stdout=log, stderr=log)
        try:
            until_it_listens(own)
            yield {"own": own, "gate": gate, "outside": outside, "acme": acme}
        finally:
            process.terminate()
            process.wait(timeout=30)


def until_it_listens(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


def ask(url: str) -> tuple[int, str]:
    anyone = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}), anyone)
    try:
        with straight.open(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_what_the_edge_answers_itself(running: dict[str, int]) -> None:
    own, acme = f"http://127.0.0.1:{running['own']}", f"http://127.0.0.1:{running['acme']}"
    assert ask(f"{own}/health")[0] == 200
    status, metrics = ask(f"{own}/metrics")
    assert status == 200
    assert 'haproxy_server_status{proxy="blockchain-gateway",server="a",state="UP"}' in metrics
    assert ask(f"{own}/")[0] == 404
    challenge = f"{acme}/.well-known/acme-challenge"
    assert ask(f"{challenge}/To-ken_1") == (200, f"To-ken_1.{THUMBPRINT}")  # RFC 8555, 8.3
    for path in (f"{challenge}/", f"{challenge}/a/b", f"{challenge}/a%22b", f"{acme}/", f"{acme}/x{challenge[22:]}"):
        assert ask(path)[0] == 404, path
    # TLS outside, plain inside; behind it nothing runs here.
    assert ask(f"https://127.0.0.1:{running['outside']}/")[0] == 503
    assert ask(f"http://127.0.0.1:{running['gate']}/")[0] == 503
    with pytest.raises((urllib.error.URLError, OSError)):
        ask(f"http://127.0.0.1:{running['outside']}/")


def test_docker_asks_it_with_bash_alone(running: dict[str, int]) -> None:
    kind, *argv = block(plan_of("tencent"))["healthcheck"]["test"]
    assert kind == "CMD"
    text = argv[-1].replace("$$", "$")

    def healthy(port: int) -> bool:
        done = subprocess.run(
            [*argv[:-1], text.replace("8419", str(port))], capture_output=True, timeout=20, check=False
        )
        return done.returncode == 0

    assert healthy(running["own"])
    assert not healthy(running["gate"])  # it answers 503
    assert not healthy(free_ports(1)[0])

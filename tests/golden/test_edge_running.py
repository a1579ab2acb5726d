"""What the edge does with requests: the real HAProxy with the rendered configuration (issue 5)."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostctl.edge_socket import until
from plan.catalog import EDGE
from plan.render import definitions, host_files
from tests.golden.edge_run import (
    GATEWAY,
    NAME,
    NEIGHBOUR,
    OUTSIDE,
    STRANGER,
    Answer,
    Running,
    haproxy,
    one_service,
    run,
    there,
)
from tests.plan.stacks import Change, plan_of, put
from tests.ports import free_ports

THUMBPRINT = "Zx0_-" + "a" * 38
FEW = put("edge.max_connections", 10)
TLS = [put("edge.certificates", "/etc/tls"), put(f"services.{NAME}.tls", 443)]
ACME = put("edge.acme_thumbprint", THUMBPRINT)
GONE = (OSError, http.client.HTTPException)
FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Anything": "evil",
    "Forwarded": "for=6.6.6.6;proto=https",
    "X-Real-IP": "6.6.6.6",
    "X_Forwarded_For": "6.6.6.6",
    "X-Mine": "kept",
}


@pytest.fixture
def nobody(certificates: Path, tmp_path: Path) -> Iterator[Running]:
    """The edge with everything on, and nothing behind it."""
    with run(tmp_path, *TLS, ACME, certificates=certificates, serve=False) as running:
        yield running


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Running]:
    """The edge with as few connections as can be."""
    with run(tmp_path, FEW, ACME) as running:
        until_it_serves(running)
        yield running


def until_it_serves(running: Running) -> None:
    assert until(lambda: running.ask("plain").status == 200, 20)


def test_what_the_edge_answers_itself(nobody: Running) -> None:
    assert nobody.ask("own", "/health").status == 200
    metrics = nobody.ask("own", "/metrics")
    assert metrics.status == 200
    assert f'haproxy_server_status{{proxy="{NAME}",server="a",state="UP"}}' in metrics.text
    assert nobody.ask("own", "/").status == 404
    challenge = "/.well-known/acme-challenge"
    asked = nobody.ask("acme", f"{challenge}/To-ken_1", to=OUTSIDE)
    assert asked == Answer(200, f"To-ken_1.{THUMBPRINT}")  # RFC 8555, 8.3
    for path in (f"{challenge}/", f"{challenge}/a/b", f"{challenge}/a%22b", "/", f"/x{challenge}"):
        assert nobody.ask("acme", path, to=OUTSIDE).status == 404, path
    # TLS outside, plain inside; behind it nothing runs here.
    assert nobody.ask("tls", to=OUTSIDE).status == 503
    assert nobody.ask("plain").status == 503
    with pytest.raises(GONE):
        nobody.ask("plain", to=OUTSIDE)


def test_docker_asks_it_with_bash_alone(nobody: Running) -> None:
    plan = plan_of("tencent")
    block: dict[str, Any] = yaml.safe_load(host_files(plan)[plan.host.layout.compose_file])["services"]["edge"]
    kind, *argv = block["healthcheck"]["test"]
    assert kind == "CMD"
    text = argv[-1].replace("$$", "$")

    def healthy(port: int) -> bool:
        done = subprocess.run(
            [*argv[:-1], text.replace("8419", str(port))], capture_output=True, timeout=20, check=False
        )
        return done.returncode == 0

    assert healthy(nobody.ports["own"])
    assert not healthy(nobody.ports["plain"])  # it answers 503
    assert not healthy(free_ports(1)[0])


def test_what_a_client_forged_is_gone(certificates: Path, tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    with run(tmp_path) as running:
        until_it_serves(running)
        got = running.ask("plain", headers=FORGED, to=OUTSIDE, source=STRANGER).headers
    assert told(got) == {"x-forwarded-for": STRANGER, "x-forwarded-proto": "http", "x-mine": "kept"}
    with run(tmp_path / "tls", *TLS, certificates=certificates) as running:
        until_it_serves(running)
        got = running.ask("tls", headers=FORGED | {"X-Forwarded-Proto": "http"}, to=OUTSIDE, source=STRANGER).headers
    assert told(got) == {"x-forwarded-for": STRANGER, "x-forwarded-proto": "https", "x-mine": "kept"}


def told(headers: dict[str, str]) -> dict[str, str]:
    """What a service is told of whence a request comes."""
    return {name: value for name, value in headers.items() if "forwarded" in name or name.startswith("x")}


def test_a_call_within_the_host_keeps_what_the_first_hop_said(tmp_path: Path) -> None:
    first = {"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "dao.example"}
    with run(tmp_path) as running:
        until_it_serves(running)
        kept = running.ask("plain", headers=first, to=GATEWAY, source=NEIGHBOUR).headers
        alone = running.ask("plain", to=GATEWAY, source=NEIGHBOUR).headers
    # Whoever passes it on is named behind it.
    assert kept["x-forwarded-proto"] == "https"
    assert kept["x-forwarded-host"] == "dao.example"
    assert kept["x-forwarded-for"] == NEIGHBOUR  # the last of two lines of that name
    assert told(alone) == {"x-forwarded-for": NEIGHBOUR, "x-forwarded-proto": "http"}


def test_containers_of_other_networks_reach_nothing_that_is_not_public(tmp_path: Path) -> None:
    with run(tmp_path) as running:
        until_it_serves(running)
        for to in (GATEWAY, "127.0.0.1"):
            with pytest.raises(GONE):
                running.ask("plain", to=to, source=STRANGER)
        assert running.ask("plain", to=GATEWAY, source=NEIGHBOUR).status == 200
        assert running.ask("plain", to=GATEWAY, source=GATEWAY).status == 200  # the host itself
        assert running.ask("plain", to=OUTSIDE, source=STRANGER).status == 200  # it is public


def test_half_requests_from_outside_stall_nobody_inside(few: Running) -> None:
    few.hold("plain", 16)
    few.hold("acme", 8)  # as another service's
    answers: list[int] = []

    def calls() -> None:
        answers.append(few.ask("plain", "/0.5", to=GATEWAY, source=NEIGHBOUR, seconds=2).status)

    crowd = [threading.Thread(target=calls) for _ in range(6)]
    for one in crowd:
        one.start()
    assert few.ask("own", "/health", seconds=2).status == 200
    assert few.ask("own", "/metrics", seconds=2).status == 200
    assert few.ask("plain", seconds=2).status == 200
    for one in crowd:
        one.join()
    assert answers == [200] * len(crowd)
    few.hold("plain", 16)
    assert not answers_outside(few)  # that it holds them is no illusion
    assert until(lambda: answers_outside(few), 30)  # it ends by itself


def answers_outside(running: Running) -> bool:
    try:
        return running.ask("plain", to=OUTSIDE, seconds=1).status == 200
    except GONE:
        time.sleep(0.1)
        return False


def test_an_overload_ends_with_those_who_made_it(few: Running) -> None:
    """Clients that gave up hold no place, whatever their requests still do."""

    def gives_up() -> None:
        with pytest.raises(GONE):
            few.ask("plain", "/20", to=OUTSIDE, seconds=1)

    crowd = [threading.Thread(target=gives_up) for _ in range(40)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    began = time.monotonic()
    assert few.ask("plain", to=OUTSIDE, seconds=10).status == 200
    assert time.monotonic() - began < 3


def test_one_service_leaves_some_connections_from_outside_to_others(few: Running) -> None:
    """ACME's port stands for another service here."""
    few.hold("plain", 40)
    assert few.ask("acme", to=OUTSIDE, seconds=1).status == 404
    few.hold("acme", 5)
    with pytest.raises(GONE):
        few.ask("acme", to=OUTSIDE, seconds=1)


@pytest.mark.parametrize("what", ["plain", "tls"])
def test_no_connection_holds_more_than_one_request(certificates: Path, tmp_path: Path, what: str) -> None:
    """HTTP/2 would: each of a hundred requests has memory of its own."""
    with run(tmp_path, *(TLS if what == "tls" else []), certificates=certificates) as running:
        asked = socket.create_connection((OUTSIDE, running.ports[what]), timeout=5)
        if what == "tls":
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(["h2", "http/1.1"])
            asked = context.wrap_socket(asked)
            assert asked.selected_alpn_protocol() == "http/1.1"
        asked.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        assert asked.recv(12) == b"HTTP/1.1 400"
        asked.close()


def test_a_reload_cuts_no_request_that_may_still_be_answered(tmp_path: Path) -> None:
    answers: list[Answer] = []
    with run(tmp_path, put("edge.timeout", 5)) as running:
        until_it_serves(running)
        slow = threading.Thread(target=lambda: answers.append(running.ask("plain", "/4.5", to=OUTSIDE)))
        slow.start()
        time.sleep(0.2)
        running.reload()
        slow.join()
    assert [answer.status for answer in answers] == [200]


def test_tls_of_a_service_that_is_not_there_yet_answers_503(certificates: Path, tmp_path: Path) -> None:
    with run(tmp_path, *TLS, certificates=certificates, without=NAME, serve=False) as running:
        assert running.ask("tls", to=OUTSIDE).status == 503


PLAIN: list[Change] = []
STEPS: list[tuple[list[Change], list[Change]]] = [
    (PLAIN, TLS),
    (TLS, PLAIN),
    (TLS, [*TLS, put(f"services.{NAME}.tls", 8411)]),
    ([*TLS, put(f"services.{NAME}.tls", 8411)], PLAIN),
    (TLS, [*TLS, put("services", {})]),
    ([put("services", {})], TLS),
]


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_tls_comes_and_goes_in_one_edit(
    certificates: Path, tmp_path: Path, before: list[Change], after: list[Change]
) -> None:
    """The edge is changed first, then its service: HAProxy takes what is there between."""
    (_, was), (mounted, now) = parts(before), parts(after)
    for step in ({**was, EDGE: now[EDGE]}, now):
        # Without certificates the folder isn't mounted.
        text = there("".join(step.values()), certificates if mounted else tmp_path / "not-there", tmp_path)
        argv = [haproxy(), "-c", "-f", "/dev/stdin"]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "Configuration file is valid\n")


def parts(changes: list[Change]) -> tuple[bool, dict[str, str]]:
    """Whether certificates are mounted; the edge's share of its file, and its service's."""
    made = definitions(plan_of("tencent", one_service, *changes))
    found: dict[str, str] = {}
    for name in (EDGE, NAME):
        for part in made.get(f"service/{name}", {"parts": []})["parts"]:
            if part["file"] == "edge/haproxy.cfg":
                found[name] = found.get(name, "") + part["text"]
    return made["service/edge"]["proxy"]["certificates"] != "", found

"""What somebody else runs: whether it answers, and what becomes of a host where it doesn't (D20, D8)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostctl import host, integrations, ports
from hostctl.definitions import parse_host
from hostctl.errors import BadInput, HostctlError
from hostctl.observe import observe
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost
from tests.ports import free_ports


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    with socket.create_server((address, 0)) as server:
        yield server.getsockname()[1]


def entry(*ports: int, host: str = "127.0.0.1", when_missing: str = "notice") -> Any:
    return {"host": host, "ports": list(ports), "when_missing": when_missing}


def test_reachable_and_missing() -> None:
    (closed,) = free_ports(1)
    with listening() as one, listening() as two:
        assert integrations.check({"ai": entry(one), "job": entry(closed), "both": entry(one, two, closed)}) == {
            "ai": "reachable",
            "job": f"missing: port {closed}: connection refused",
            "both": f"missing: port {closed}: connection refused",
        }
    assert integrations.check({}) == {}


def test_one_that_listens_on_another_address_of_this_machine_alone() -> None:
    with listening("127.0.0.7") as port:
        assert integrations.check({"consul": entry(port)}) == {"consul": "reachable"}
        elsewhere = integrations.check({"consul": entry(port, host="127.0.0.8")})
        assert elsewhere == {"consul": f"missing: port {port}: connection refused"}


def test_a_name_that_is_unknown_and_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*words: Any) -> Any:
        time.sleep(30)

    monkeypatch.setattr(integrations, "_connect", slow)
    begun = time.monotonic()
    many = {f"one-{number}": entry(1, 2, 3) for number in range(5)}
    found = integrations.check(many, 0.5)
    assert time.monotonic() - begun < 5  # all at once, and an end to it
    assert set(found.values()) == {
        "missing: port 1: no answer within 0.5 s, port 2: no answer within 0.5 s, port 3: no answer within 0.5 s"
    }


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(tmp_path / "root", monkeypatch)


def converge(fake: FakeHost, **entries: Any) -> Any:
    made = parse_host(samples.raw(samples.host(integrations=entries)))
    return fake.act(lambda run: host.converge(run, made, None))


def test_a_notice_stops_nothing(fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    (closed,) = free_ports(1)
    with listening() as port:
        found = converge(fake, ai=entry(port), job=entry(closed))
    assert found["integrations"] == {"ai": "reachable", "job": f"missing: port {closed}: connection refused"}
    said = capsys.readouterr().err
    assert f"notice: existing.job: job on 127.0.0.1 is missing: port {closed}: connection refused" in said


def test_what_the_stack_insists_on_ends_it_before_anything_is_touched(fake: FakeHost) -> None:
    one, two = free_ports(2)
    insist = {"job": entry(one, when_missing="fail"), "resume": entry(two, when_missing="fail")}
    with pytest.raises(HostctlError) as caught, listening() as port:
        converge(fake, ai=entry(port, when_missing="fail"), **insist)
    assert caught.value.exit_code == 1
    text = str(caught.value)
    assert f"existing.job: job on 127.0.0.1 is missing: port {one}: connection refused; existing.resume: resume" in text
    assert "nothing was touched: start what is missing, set its host and ports right, or write `when_missing: n" in text
    assert "ai" not in text
    assert not fake.root.exists()


def test_one_that_the_stack_insists_on_changes_the_hosts_label_so_that_an_up_refuses(fake: FakeHost) -> None:
    def label() -> str:
        return observe(fake.context(), {"databases": {}, "secrets": {}, "containers": []})["host"]

    with listening() as port, listening() as other:
        insisted = {"job": entry(port, when_missing="fail"), "ai": entry(other)}
        converge(fake, **insisted)
        (fake.root / "bin/hostctl").write_text("#!/bin/sh\n")
        (fake.root / "bin/hostctl").chmod(0o755)
        assert label() == ""
    assert label() == label() == "job does not answer (after generation 1)"  # one that is a notice only says nothing
    with pytest.raises(HostctlError, match=r"existing\.job: job on 127.0.0.1 is missing"):
        converge(fake, **insisted)
    with listening() as moved:  # it moved: where it was doesn't matter
        converge(fake, job=entry(moved, when_missing="fail"))
        assert label() == ""


@pytest.mark.parametrize(
    "bad", [entry(), entry(1, host="-x"), entry(1, when_missing="embedded"), {"host": "h", "ports": [1]}]
)
def test_bad_entries_are_refused(bad: Any) -> None:
    with pytest.raises(BadInput, match=r"integrations\.ai"):
        parse_host(samples.raw(samples.host(integrations={"ai": bad})))


@pytest.mark.parametrize(
    "holder", ["pid 7 (/usr/bin/consul agent -dev)", "pid 7 (consul)", "pid 7 (Consul agent)", "container my-consul-1"]
)
def test_consul_on_a_services_port_is_told_its_own_setting(holder: str) -> None:
    told = ports.sentence(8503, holder)
    assert told.startswith(f"port 8503 is taken by {holder}: set Consul's ports (grpc_tls, ...) in its configuration")


def test_others_on_a_services_port_are_told_to_go() -> None:
    for holder in ("pid 7 (/usr/bin/consulting)", "pid 7 (python3 -m http.server)"):
        assert ports.sentence(8503, holder) == f"port 8503 is taken by {holder}: end that, or choose another port"

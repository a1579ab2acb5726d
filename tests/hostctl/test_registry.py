"""Registration with a Consul agent: once, again after a change, gone with the service, never in an `up`'s way (P3)."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostctl import registry
from hostctl.definitions import parse_service
from hostctl.errors import BadInput, HostctlError
from hostctl.observe import observe
from hostctl.redact import env_file
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost, FakeRuntime
from tests.ports import free_ports

NAME = "identity-service"
ID = "blockchain-local-identity-service"


class Consul(http.server.BaseHTTPRequestHandler):
    """As much of an agent as is asked, as Consul's documentation has it."""

    services: dict[str, dict[str, Any]]
    asked: list[tuple[str, str]]
    token: str
    broken: int
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._refused():
            return
        if self.path == "/v1/agent/services":
            self._answer(200, self.services)
        else:
            ident = self.path.rpartition("/")[2]
            found = self.services.get(ident)
            self._answer(200 if found else 404, found or f"unknown service ID: {ident}")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._refused():
            return
        if self.path == "/v1/agent/service/register":
            asked = json.loads(body)
            told = {key: asked[key] for key in ("ID", "Address", "Port", "Tags", "Meta")}
            self.services[asked["ID"]] = {"Service": asked["Name"], **told, "checked": asked["Check"]}
        else:
            assert self.path.startswith("/v1/agent/service/deregister/")
            del self.services[self.path.rpartition("/")[2]]
        self._answer(200, None)

    def _refused(self) -> bool:
        self.asked.append((self.command, self.path))
        code = self.broken or (403 if self.token and self.headers["X-Consul-Token"] != self.token else 0)
        if code:
            self._answer(code, "Permission denied")
        return bool(code)

    def _answer(self, status: int, value: Any) -> None:
        text = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def consul() -> Iterator[Any]:
    state = {"services": {}, "asked": [], "token": "", "broken": 0}
    handler = type("Handler", (Consul,), state)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    made = FakeHost(tmp_path / "root", monkeypatch)
    made.host()
    return made


def service(url: str, **changes: Any) -> dict[str, Any]:
    where = {"consul": url, "address": "47.115.168.107", "tags": ["local", "core"]} | changes.pop("register", {})
    return healthy(samples.service(NAME, register=where, **changes))


def healthy(made: dict[str, Any]) -> dict[str, Any]:
    """Tells the runtime in memory which port this form is healthy on."""
    FakeRuntime.ports[made["digest"]] = str(made["ports"][0])
    return made


def puts(consul: Any) -> list[str]:
    return [path for method, path in consul.asked if method == "PUT"]


def label(fake: FakeHost) -> str:
    return observe(fake.context(), {"databases": {}, "secrets": {}, "containers": []})["services"][NAME]


def test_a_healthy_service_is_registered_once(fake: FakeHost, consul: Any) -> None:
    assert "warning" not in fake.up(service(consul.url))
    found = consul.services[ID]
    assert found.pop("Meta")["blockchain-dao"]
    assert found == {
        "ID": ID,
        "Service": NAME,
        "Address": "47.115.168.107",
        "Port": 8302,
        "Tags": ["local", "core"],
        "checked": {"HTTP": "http://127.0.0.1:8302/health", "Interval": "10s", "Timeout": "2s"},
    }


def test_a_second_up_asks_and_puts_nothing(fake: FakeHost, consul: Any) -> None:
    fake.up(service(consul.url))
    assert label(fake) == ""
    consul.asked.clear()
    fake.up(service(consul.url))
    assert consul.asked == [("GET", f"/v1/agent/service/{ID}")]


@pytest.mark.parametrize(
    "changes",
    [
        {"register": {"address": "127.0.0.1"}},
        {"register": {"tags": ["local", "security"]}},
        {"port": 8303},
    ],
)
def test_a_change_is_registered(fake: FakeHost, consul: Any, changes: dict[str, Any]) -> None:
    fake.up(service(consul.url))
    consul.asked.clear()
    fake.up(service(consul.url, **changes))
    assert puts(consul) == ["/v1/agent/service/register"]
    assert label(fake) == ""


def test_where_a_service_is_registered_is_no_reason_to_start_it_again(fake: FakeHost, consul: Any) -> None:
    fake.up(service(consul.url))
    before = dict(fake.runtime.running)
    assert fake.up(service(consul.url, register={"tags": ["other"]}))["outcome"] == "unchanged"
    assert fake.runtime.running == before


def test_down_takes_it_out(fake: FakeHost, consul: Any) -> None:
    fake.up(service(consul.url))
    fake.down(NAME)
    assert consul.services == {}
    consul.asked.clear()
    assert fake.down(NAME)["outcome"] == "absent"
    assert consul.asked == []


def test_remove_host_takes_all_out(fake: FakeHost, consul: Any) -> None:
    from hostctl import host

    fake.up(service(consul.url))
    consul.services["somebody-elses"] = {"ID": "somebody-elses", "Service": "x"}
    fake.act(host.forget)
    assert set(consul.services) == {"somebody-elses"}


def test_what_a_hand_took_out_is_seen_and_put_back(fake: FakeHost, consul: Any) -> None:
    fake.up(service(consul.url))
    consul.services.clear()
    assert label(fake) == "not registered in Consul (after generation 1)"
    fake.up(service(consul.url), observed=label(fake))
    assert set(consul.services) == {ID}
    assert label(fake) == "not registered in Consul (after generation 1)"  # adopted: clean from now on


def test_a_consul_that_is_gone_is_a_warning_and_the_next_up_repairs_it(fake: FakeHost, consul: Any) -> None:
    consul.broken = 500
    told = fake.up(service(consul.url))
    assert told["outcome"] == "started"
    assert told["warning"] == "identity-service is not registered in Consul: Consul answers HTTP 500"
    assert label(fake) == ""  # nothing that an `up` could repair now
    consul.broken = 0
    assert label(fake) == "not registered in Consul (after generation 1)"
    assert "warning" not in fake.up(service(consul.url))
    assert set(consul.services) == {ID}
    consul.broken = 500
    assert fake.down(NAME)["warning"] == "identity-service may still be registered in Consul: Consul answers HTTP 500"


def test_nobody_there(fake: FakeHost) -> None:
    (port,) = free_ports(1)
    told = fake.up(service(f"http://127.0.0.1:{port}"))
    assert told["warning"] == (
        f"identity-service is not registered in Consul: Consul on 127.0.0.1:{port}: connection refused"
    )


def test_a_token_where_one_is_given(fake: FakeHost, consul: Any) -> None:
    consul.token = "c0nsul-t0ken"
    told = fake.up(service(consul.url))
    assert told["warning"].endswith("Consul refuses its token: secrets.consul must allow service:write")
    fake.context().layout.secret_file("consul").write_text(env_file({"PASSWORD": "c0nsul-t0ken"}))
    assert "warning" not in fake.up(service(consul.url))
    assert set(consul.services) == {ID}
    records = "".join(path.read_text() for path in (fake.root / "state").rglob("*") if path.is_file())
    assert "c0nsul-t0ken" not in records  # D6


def test_a_service_without_a_registration_asks_nobody(fake: FakeHost) -> None:
    assert "warning" not in fake.up(healthy(samples.service(NAME)))
    context = fake.context()
    assert registry.after_down(context, NAME, None) == ""
    assert label(fake) == ""


def test_a_registration_that_a_definition_drops_is_taken_out(fake: FakeHost, consul: Any) -> None:
    fake.up(service(consul.url))
    assert "warning" not in fake.up(healthy(samples.service(NAME)))
    assert consul.services == {}
    consul.asked.clear()
    fake.up(healthy(samples.service(NAME)))
    assert consul.asked == []


def test_a_service_that_is_registered_elsewhere_leaves_the_former_consul(fake: FakeHost, consul: Any) -> None:
    fake.up(service(consul.url))
    other = consul.url.replace("127.0.0.1", "localhost")  # by another name the same one: it must be there in the end
    fake.up(service(other))
    assert set(consul.services) == {ID}
    assert puts(consul)[-2:] == [f"/v1/agent/service/deregister/{ID}", "/v1/agent/service/register"]
    (port,) = free_ports(1)
    told = fake.up(service(f"http://127.0.0.1:{port}"))
    assert consul.services == {}
    assert told["warning"].startswith("identity-service is not registered in Consul")


def test_a_change_that_is_rolled_back_stays_registered(fake: FakeHost, consul: Any) -> None:
    fake.up(service(consul.url))
    sick = healthy(samples.service(NAME, env={"SICK": "yes"}, timeout=0.1))
    fake.runtime.sick.add(sick["digest"])
    with pytest.raises(HostctlError, match="did not come up"):
        fake.up(sick)
    assert set(consul.services) == {ID}


def test_a_token_that_was_edited_by_hand_is_a_warning(fake: FakeHost, consul: Any) -> None:
    fake.context().layout.secret_file("consul").write_text("PASSWORD=c0nsul-t0ken\n")
    told = fake.up(service(consul.url))
    assert "consul.env, line 1: is not KEY=" in told["warning"]
    assert "c0nsul-t0ken" not in told["warning"]
    assert label(fake) == ""


def test_a_bad_registration_is_refused() -> None:
    for bad in ({"consul": "consul:8500"}, {"address": "a b"}, {"tags": "x"}):
        made = service("http://127.0.0.1:8500", register=bad)
        with pytest.raises(BadInput, match="register"):
            parse_service(samples.raw(made), NAME)

"""The stand-in as a real process: the contract's endpoints, a clean stop, its memory (D13, issue 3 item 5)."""

from __future__ import annotations

import concurrent.futures
import http.client
import http.server
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.image.service import Service, eventually, free_port, run, running

#: D14: at most 45 MB resident (MB, not MiB: the stricter reading).
MEMORY_KILOBYTES = 45_000_000 // 1024


@pytest.fixture(scope="module")
def plain() -> Iterator[Service]:
    """One service without dependencies for all tests that only ask."""
    extra = {"SERVICE_ENVIRONMENT": "tencent", "BLOCKCHAIN_MODE": "integration", "BLOCKCHAIN_CHAIN": "huawei,ethereum"}
    with running(extra) as service:
        yield service


def test_health_ready_info_and_root(plain: Service) -> None:
    assert plain.get("/health").json == {"status": "alive", "service": "identity-service", "stand_in": True}
    ready = plain.get("/ready")
    assert (ready.status, ready.json["ready"], ready.json["reasons"]) == (200, True, [])
    info = plain.get("/info").json
    version = (Path(__file__).parents[2] / "image" / "VERSION").read_text().strip()
    assert (info["name"], info["version"], info["environment"]) == ("identity-service", version, "tencent")
    assert (info["mode"], info["chains"], info["stand_in"]) == ("integration", ["huawei", "ethereum"], True)
    assert info["pid"] == plain.process.pid
    assert plain.get("/").json["stand_in"] is True


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/health", 405),
        ("GET", "/slow?seconds=11", 400),
        ("GET", "/slow?seconds=nan", 400),
        ("GET", "/records", 404),
        ("GET", "/metrics", 200),
    ],
)
def test_each_answer_says_that_it_is_a_stand_in(plain: Service, method: str, path: str, status: int) -> None:
    answer = plain.ask(method, path)
    assert (answer.status, answer.headers["X-Stand-In"]) == (status, "true")
    if status >= 400:
        assert answer.json["error"]
        assert answer.json["stand_in"] is True


def test_count_counts_exactly_also_at_once(plain: Service) -> None:
    before = plain.get("/count").json["count"]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: plain.ask("POST", "/count"), range(200)))
    assert plain.get("/count").json["count"] == before + 200


@pytest.mark.parametrize("wrong", ["", "-1", "x", "1048576", "٣", "99999999999"])
def test_an_id_that_can_not_be_noted_is_refused_and_counts_nothing(plain: Service, wrong: str) -> None:
    before = plain.get("/count").json["count"]
    refused = plain.ask("POST", "/count?id=" + quote(wrong))
    assert refused.status == 400
    assert "a number from 0 to 1048575" in refused.json["error"]
    assert plain.get("/count").json["count"] == before


def counted(folder: Path, *ids: int) -> dict[str, Any]:
    """What all processes that had this folder have counted; `ids`: the first and the last to look at."""
    script = Path(__file__).parents[1] / "lab" / "counted.py"
    words = [sys.executable, script, folder / "counted", *map(str, ids)]
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def test_ids_are_counted_exactly_over_processes_also_killed_ones(tmp_path: Path) -> None:
    """Issue 5: what was lost and what was counted twice is found, whichever process had it and however it ended."""
    extra = {"SERVICE_DATA": str(tmp_path)}
    with running(extra) as service, concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda ident: service.ask("POST", f"/count?id={ident}").json, range(300)))
        assert {answer["count"] for answer in answers} == set(range(1, 301))
        assert {answer["doubles"] for answer in answers} == {0}
        service.ask("POST", "/count")  # without one: nobody's business
        service.process.kill()
        service.wait()
    first = {answer["process"] for answer in answers}
    assert counted(tmp_path) == {
        "posts": 300, "doubles": 0, "ids": 300, "missing": 0, "shared": 0, "processes": {first.pop(): 300},
    }  # fmt: skip
    with running(extra) as service:
        assert [service.ask("POST", f"/count?id={ident}").json["doubles"] for ident in (301, 400, 301, 301)] == [
            0, 0, 1, 2,
        ]  # fmt: skip
        service.ask("POST", "/count?id=299")  # another process had it
        service.get("/count?id=298")  # no POST
        assert service.stop() == 0
    assert any("event=counted posts=5 doubles=2" in line for line in service.lines)
    found = counted(tmp_path)
    assert (found["posts"], found["doubles"], found["ids"], found["shared"]) == (305, 2, 302, 1)
    assert found["missing"] == 401 - 302
    assert len(found["processes"]) == 2
    later = counted(tmp_path, 300, 1000)
    assert (later["posts"], later["ids"], later["shared"], later["missing"]) == (305, 2, 0, 99)
    assert list(later["processes"].values()) == [2]


def test_counting_takes_next_to_no_memory(tmp_path: Path) -> None:
    with running({"SERVICE_DATA": str(tmp_path)}) as service:
        service.ask("POST", "/count")
        before = service.resident_kilobytes()
        for ident in range(0, 1 << 20, 1 << 12):
            assert service.ask("POST", f"/count?id={ident}").status == 200
        assert service.resident_kilobytes() - before < 1000


def test_connections_that_were_reset_take_no_memory() -> None:
    """As HAProxy ends those to a service that it needs no more; each would be kept for 5 s."""
    with running() as service:
        for _ in range(200):
            service.get("/health")
        before = service.resident_kilobytes()
        for _ in range(1000):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert service.get("/health").status == 200
        assert service.resident_kilobytes() - before < 2000


def test_a_kept_connection_is_answered_at_once(plain: Service) -> None:
    """Head and body are two packets: the second must not wait until the first is acknowledged (some 40 ms)."""
    connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=10)
    times: list[float] = []
    for _ in range(60):
        begun = time.monotonic()
        connection.request("GET", "/health")
        connection.getresponse().read()
        times.append(time.monotonic() - begun)
    connection.close()
    assert sorted(times)[len(times) // 2] < 0.03


def test_metrics_have_what_a_dashboard_needs(plain: Service) -> None:
    count = 'http_requests_total{method="GET",route="/info",status="200"}'
    plain.get("/info")
    before = plain.metric(count)
    plain.get("/info")
    assert plain.metric(count) == before + 1
    assert plain.metric('http_request_duration_seconds_count{route="/info"}') == before + 1
    assert plain.metric("service_ready") == 1
    resident = plain.metric("process_resident_memory_bytes")
    assert 10_000_000 < resident < 100_000_000
    assert resident == pytest.approx(plain.resident_kilobytes() * 1024, rel=0.1)


def test_strangers_can_not_make_metrics_grow(plain: Service) -> None:
    for number in range(30):
        plain.ask("GET", f"/stranger-{number}")
        plain.ask(f"METHOD{number}", "/health")
    text = plain.get("/metrics").body.decode()
    assert "stranger" not in text
    assert "METHOD" not in text
    assert plain.metric('http_requests_total{method="GET",route="other",status="404"}') >= 30
    assert plain.metric('http_requests_total{method="other",route="/health",status="405"}') >= 30


def test_a_request_under_way_ends_well_when_the_stop_comes() -> None:
    with running() as service, concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(service.get, "/slow?seconds=2")
        eventually("the request is under way", lambda: service.metric("http_requests_in_flight") == 2)
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun > 0.5, "it did not wait for the request"
        assert slow.result().status == 200
        with pytest.raises(ConnectionRefusedError):
            service.get("/health")
    assert [line.split("event=")[1].split()[0] for line in service.lines] == ["started", "stopped"]


def test_a_stop_has_a_limit() -> None:
    with running({"STAND_IN_STOP_SECONDS": "1"}) as service, concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(service.get, "/slow?seconds=10")
        eventually("the request is under way", lambda: service.metric("http_requests_in_flight") == 2)
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 8
        assert slow.exception() is not None or slow.result().status != 200


def test_an_idle_connection_does_not_hold_up_the_stop() -> None:
    with running() as service, socket.create_connection(("127.0.0.1", service.port)):
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_at_any_moment_of_the_start_is_clean(number: signal.Signals) -> None:
    for delay in (0.15, 0.3, 0.45):
        with running(wait=False) as service:
            time.sleep(delay)
            service.process.send_signal(number)
            code = service.wait()
            # A signal before Python has our handler ends it as it would any program, Ctrl-C with Python's traceback.
            assert code in (0, -number)
            assert code != 0 or not any("Traceback" in line for line in service.lines)


def test_a_busy_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("standin", [], b"", {"SERVICE_NAME": "identity-service", "SERVICE_PORT": str(port)})
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert len(lines) == 1
    assert f"address=127.0.0.1:{port}" in lines[0]
    assert "address already in use" in lines[0]


def test_not_ready_until_started_but_alive() -> None:
    with running({"STAND_IN_STARTUP_SECONDS": "3"}) as service:
        early = service.get("/ready")
        assert service.get("/health").status == 200
        assert early.status == 503
        assert early.json["reasons"][0].startswith("starting: ")
        eventually("the service is ready", lambda: service.get("/ready").status == 200)


def test_one_that_never_becomes_ready_is_alive() -> None:
    with running({"STAND_IN_NEVER_READY": "1"}) as service:
        ready = service.get("/ready")
        assert (ready.status, ready.json["reasons"]) == (503, ["STAND_IN_NEVER_READY is set"])
        assert service.get("/health").status == 200
    with running({"STAND_IN_NEVER_READY": "0"}) as service:
        assert service.get("/ready").status == 200


def test_a_crash_after_it_was_ready() -> None:
    extra = {"STAND_IN_STARTUP_SECONDS": "1", "STAND_IN_CRASH_AFTER_READY_SECONDS": "0.5"}
    with running(extra) as service:
        eventually("the service is ready", lambda: service.get("/ready").status == 200)
        begun = time.monotonic()
        assert service.wait() == 3
        assert time.monotonic() - begun < 5
    assert "event=crashed" in service.lines[-1]
    assert "STAND_IN_CRASH_AFTER_READY_SECONDS is set" in service.lines[-1]


class _Needed(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(_Needed.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_needed_service_shows_in_ready_and_metrics() -> None:  # P5
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Needed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    gone = f"http://127.0.0.1:{free_port()}"
    try:
        with running({"SERVICE_NEEDS": f"identity-service={address}"}) as service:
            ready = service.get("/ready")
            assert ready.status == 200
            assert ready.json["services"] == {"identity-service": {"state": "healthy", "detail": address}}
            assert service.metric('dependency_up{kind="service",name="identity-service"}') == 1
            _Needed.status = 500
            eventually("it shows", lambda: service.get("/ready").status == 503, 5)
            assert service.get("/ready").json["reasons"] == [f"identity-service: answers 500 ({address}/health)"]
            assert service.metric('dependency_up{kind="service",name="identity-service"}') == 0
            _Needed.status = 200
            eventually("it is back", lambda: service.get("/ready").status == 200, 5)
        with running({"SERVICE_NEEDS": f"a={gone},b={address}"}) as service:
            assert service.get("/ready").json["reasons"] == [f"a: connection refused ({gone}/health)"]
    finally:
        _Needed.status = 200
        server.shutdown()
        server.server_close()


def test_a_dependency_that_never_answers_costs_two_seconds_at_most_and_once_for_all_askers() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        extra = {
            "SERVICE_DATABASES": "mysql=reused,redis=reused",
            "BLOCKCHAIN_MYSQL_PORT": str(port),
            "BLOCKCHAIN_REDIS_PORT": str(port),
        }
        with running(extra) as service, concurrent.futures.ThreadPoolExecutor(8) as pool:
            begun = time.monotonic()
            answers = list(pool.map(lambda _: service.get("/ready"), range(8)))
            took = time.monotonic() - begun
            assert {answer.status for answer in answers} == {503}
            assert 1 < took < 5, "in parallel, not one after the other"
            assert service.get("/health").status == 200
            assert "timed out" in answers[0].json["reasons"][0]


def test_embedded_stores_are_told(tmp_path: Path) -> None:
    extra = {"SERVICE_DATABASES": "mysql=embedded,redis=embedded", "SERVICE_DATA": str(tmp_path / "own" / "data")}
    with running(extra) as service:
        ready = service.get("/ready")
        assert ready.status == 200
        assert {name: state["state"] for name, state in ready.json["databases"].items()} == {
            "mysql": "embedded",
            "redis": "embedded",
        }
        assert service.metric('dependency_up{kind="database",name="mysql"}') == 1
        assert service.get("/info").json["databases"] == {"mysql": "embedded", "redis": "embedded"}
    files = list((tmp_path / "own" / "data").iterdir())
    assert {file.name for file in files} >= {"embedded-mysql.sqlite3", "embedded-redis.sqlite3"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_folder_that_can_not_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    extra = {"SERVICE_DATABASES": "mysql=embedded", "SERVICE_DATA": str(tmp_path / "file" / "data")}
    done = run("standin", [], b"", {"SERVICE_NAME": "x", "SERVICE_PORT": str(free_port()), **extra})
    assert done.returncode == 1
    assert len(done.stderr.decode().splitlines()) == 1
    assert "can't open its store" in done.stderr.decode()


def test_the_log_has_changes_and_no_requests() -> None:
    extra = {
        "SERVICE_DATABASES": "redis=reused",
        "BLOCKCHAIN_REDIS_PORT": str(free_port()),
        "BLOCKCHAIN_REDIS_PASSWORD": "geheim-1234",
    }
    with running(extra) as service:
        texts = [service.get(path).body.decode() for path in ("/ready", "/info", "/metrics", "/", "/ready") * 3]
        with socket.create_connection(("127.0.0.1", service.port)) as noise:
            noise.sendall(b"\x16\x03\x01\x00garbage\r\n\r\n")
            noise.recv(1000)
        assert service.stop() == 0
    events = [line.split("event=")[1].split(" dependency=")[0] for line in service.lines]
    assert events[0].startswith("started")
    assert events.count('"dependency is unreachable"') == 1
    assert len(service.lines) <= 4
    assert all(line.startswith("time=") for line in service.lines)
    assert "geheim-1234" not in "".join(texts + service.lines)


def test_memory_with_both_clients_loaded() -> None:  # D14; with the databases themselves: tests/host
    port = str(free_port())
    extra = {
        "SERVICE_DATABASES": "mysql=reused,redis=reused",
        "BLOCKCHAIN_MYSQL_PORT": port,
        "BLOCKCHAIN_REDIS_PORT": port,
    }
    with running(extra):
        pass  # the first start may compile its libraries, which costs memory that later ones don't need
    with running(extra) as service, concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(service.get, ("/health", "/ready", "/info", "/count") * 250))
        list(pool.map(service.get, ("/metrics",) * 50))
        resident = service.resident_kilobytes()
        print(f"resident: {resident} kB with both clients")
        assert resident < MEMORY_KILOBYTES


def test_the_probe(plain: Service) -> None:
    def probe(extra: dict[str, str]) -> int:
        return run("standin.probe", [], b"", extra).returncode

    assert probe({"SERVICE_PORT": str(plain.port), "SERVICE_BIND": "0.0.0.0"}) == 0
    assert probe({"PORT": str(plain.port)}) == 0
    assert probe({"SERVICE_PORT": str(free_port())}) == 1
    assert probe({}) == 2

"""The health gate (P9)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast

import pytest

from hostctl import health
from hostctl.docker_api import DockerMissing
from hostctl.runtime import Process

RUNNING = Process("running", 10, "")


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.lstrip("/") or 200))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Fake:
    """A runtime whose process goes through what the test says, a step at each look."""

    def __init__(self, *steps: Process | str | None) -> None:
        self.steps: list[Any] = list(steps)

    def processes(self) -> dict[str, Process]:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return {} if step is None else {"x": step}

    def process(self, name: str) -> Process | None:
        return self.processes().get(name)


class Restarting(Fake):
    """A Docker that doesn't answer for some looks (steps that are texts)."""

    def process(self, name: str) -> Process | None:
        if isinstance(self.steps[0], str):
            raise DockerMissing(self.steps.pop(0) if len(self.steps) > 1 else self.steps[0])
        return super().process(name)


def gate(url: str, *steps: Process | None, timeout: float = 5, stop: bool = False) -> health.Verdict:
    runtime: Any = Fake(*steps)
    return health.Gate(runtime, "x", {"url": url, "timeout_seconds": timeout}, lambda: stop).wait()


def test_only_200_is_healthy(url: str) -> None:
    assert health.probe(url + "/200", 2) == ""
    assert health.probe(url + "/503", 2) == f"{url}/503 answers HTTP 503"
    assert health.probe(url + "/302", 2) == f"{url}/302 answers HTTP 302"
    assert health.probe("http://127.0.0.1:1/health", 2) == "http://127.0.0.1:1/health: Connection refused"


def test_no_proxy_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert health.probe(url + "/200", 2) == ""


def test_healthy_means_running_and_the_same_process(url: str) -> None:
    starting = RUNNING._replace(state="starting")
    assert gate(url, None, starting, starting, RUNNING).healthy


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([RUNNING._replace(state="failed", detail="exit status 3")], "its process ended: exit status 3"),
        ([RUNNING, RUNNING._replace(pid=11)], "its process ended and was started again"),
        ([RUNNING._replace(state="starting"), RUNNING._replace(pid=11)], "its process ended and was started again"),
    ],
)
def test_an_end_is_seen_at_once(url: str, steps: list[Process], reason: str) -> None:
    verdict = gate(url + "/503", *steps)
    assert not verdict.healthy
    assert verdict.reason == reason
    assert verdict.seconds < 2


def test_one_that_is_never_started(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "UNSTARTED_SECONDS", 0.2)
    assert gate(url, None).reason == "its process is not running"
    assert gate(url, Process("stopped", 0, "")).reason == "its process is not running"


def test_a_docker_that_restarts_is_waited_for(url: str) -> None:
    """Its containers come back as other processes."""
    away = "Docker doesn't answer on /var/run/docker.sock: Connection refused"
    health_of = {"url": url, "timeout_seconds": 5.0}

    def verdict(*steps: Process | str, timeout: float = 5.0) -> health.Verdict:
        runtime: Any = Restarting(*steps)
        return health.Gate(runtime, "x", cast(Any, health_of | {"timeout_seconds": timeout}), lambda: False).wait()

    starting = RUNNING._replace(state="starting")
    assert verdict(starting, away, away, RUNNING._replace(pid=11)).healthy
    assert verdict(RUNNING, away, RUNNING._replace(pid=11)).healthy  # it was away when the answer was there
    assert verdict(away, timeout=0.3).reason == f"not healthy within 0.3 s: {away}"


def test_the_last_answer_is_in_the_reason(url: str) -> None:
    verdict = gate(url + "/503", RUNNING, timeout=0.3)
    assert verdict.reason == f"not healthy within 0.3 s: {url}/503 answers HTTP 503"


def test_an_interruption_ends_it(url: str) -> None:
    assert gate(url + "/503", RUNNING, stop=True).reason == "interrupted"


def test_an_answer_of_the_process_before_does_not_count(url: str) -> None:
    """It answered in its last moment; by then another one runs."""
    verdict = gate(url, RUNNING, RUNNING._replace(pid=11))
    assert not verdict.healthy

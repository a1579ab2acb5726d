"""A real stand-in process on a free port, and real HTTP to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

IMAGE = Path(__file__).resolve().parents[2] / "image"
#: Seconds for anything that should happen soon, on a slow machine.
SOON = 45.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without a service's own variables, and `extra`."""
    foreign = ("SERVICE_", "BLOCKCHAIN_", "STAND_IN_")
    own = {key: value for key, value in os.environ.items() if not key.startswith(foreign) and key != "PORT"}
    return {**own, **(extra or {})}


def eventually(what: str, found: Callable[[], Any], seconds: float = SOON) -> Any:
    """The first true result of `found`, asked again and again; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = found()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A running stand-in."""

    process: subprocess.Popen[bytes]
    port: int
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, timeout: float = SOON) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def alive(self) -> bool:
        """Whether /health answers; fails with the log when the process has ended."""
        assert self.process.poll() is None, "ended:\n" + "\n".join(self.lines)
        try:
            return self.get("/health").status == 200
        except OSError:
            return False

    def metric(self, line: str) -> float:
        """The value of the sample that is written as `line`."""
        for text in self.get("/metrics").body.decode().splitlines():
            if text.startswith(line + " "):
                return float(text.rsplit(" ", 1)[1])
        raise AssertionError(f"no sample {line}")

    def resident_kilobytes(self) -> int:
        """The process's resident memory."""
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            return int(status.read_text().split("VmRSS:")[1].split()[0])
        asked = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """The exit code, and all lines of the log read."""
        code = self.process.wait(SOON)
        if self.reader is not None:
            self.reader.join(SOON)
        return code


@contextlib.contextmanager
def running(extra: Mapping[str, str] | None = None, wait: bool = True) -> Iterator[Service]:
    """A stand-in with `extra` in its environment, on a free port unless that names one; stopped in the end."""
    variables = {"SERVICE_NAME": "identity-service", "SERVICE_PORT": str(free_port()), **(extra or {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "standin"], cwd=IMAGE, env=environment(variables), stderr=subprocess.PIPE
    )
    service = Service(process, int(variables["SERVICE_PORT"]))
    stderr = process.stderr
    assert stderr is not None
    service.reader = threading.Thread(target=lambda: service.lines.extend(line.decode().rstrip() for line in stderr))
    service.reader.start()
    try:
        if wait:
            eventually("the service answers /health", service.alive)
        yield service
    finally:
        process.kill()
        process.wait(SOON)
        service.reader.join(SOON)
        stderr.close()


def run(
    module: str, arguments: list[str], stdin: bytes, extra: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """`python -m MODULE …` in image/, to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=IMAGE,
        env=environment(extra),
        input=stdin,
        capture_output=True,
        timeout=SOON,
        check=False,
    )

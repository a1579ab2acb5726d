"""Load on a lab's server while something is done to it, and whether every request was answered and counted once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.host.servers import ROOT, Server
from tests.lab.host import LabHost
from tests.lab.machine import docker_words

LAB = Path(__file__).parents[1] / "lab"
LOAD, COUNTED = LAB / "load.py", LAB / "counted.py"
THERE = "/run/lab/load.py"
DEADLINE = 60

Found = dict[str, Any]


class Load:
    """Load on some of a server's ports from inside it, for the time of a block; `found` has the result after it.

    A target is what tests/lab/load.py takes: `{"name": "changed", "port": 8514, "rate": 500}`. `cpu`: on that one only.
    """

    def __init__(self, host: LabHost, *targets: Found, seconds: float | None = None, cpu: int | None = None) -> None:
        self.host, self.about = host, {"targets": list(targets), "seconds": seconds}
        self.found: dict[str, Found] = {}
        self._words = ["python3", THERE, json.dumps(self.about)]
        if cpu is not None:
            self._words = ["taskset", "-c", str(cpu), *self._words]
        self._running: subprocess.Popen[str] | None = None

    def __enter__(self) -> Load:
        self.host.put(THERE, LOAD.read_text())
        words, pipe = docker_words("exec", "-i", self.host.container, *self._words), subprocess.PIPE
        self._running = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._running.stderr is not None
        begun = self._running.stderr.readline()
        assert begun == "begun\n", begun
        return self

    def __exit__(self, *_: object) -> None:
        assert self._running is not None
        said, wrong = self._running.communicate(timeout=DEADLINE + (self.about["seconds"] or 0))
        assert self._running.returncode == 0, wrong
        self.found = json.loads(said)["targets"]

    def run(self) -> dict[str, Found]:
        """For `seconds`, with nothing else going on."""
        with self:
            pass
        return self.found


class Ids:
    """Which ids a service's POSTs had: each load has its own, so that each can be judged alone."""

    EACH = 80_000

    def __init__(self, host: LabHost, service: str) -> None:
        self.host, self.service = host, service
        self._next = self._first = 0
        self._before: Found = {}

    def begin(self) -> int:
        """The first id of a load that begins now."""
        self._first, self._next = self._next, self._next + self.EACH
        self._before = self._counted()
        return self._first

    def assert_exact(self, found: Found) -> None:
        """Each POST of the load was counted once, by one process: none lost, none twice."""
        there = self._counted()
        assert there["doubles"] == self._before["doubles"], there
        assert (there["shared"], there["missing"]) == (0, 0), there
        assert there["ids"] == found["posts_answered"], there
        assert found["posts_answered"] == found["sent"]["POST"]
        assert set(there["processes"]) <= set(found["served_by"])

    def _counted(self) -> Found:
        folder, ids = f"{ROOT}/data/{self.service}/counted", (self._first, self._next - 1)
        return json.loads(self.host.run(["python3", "-", folder, *map(str, ids)], stdin=COUNTED.read_text()))


def assert_none_lost(found: Found) -> None:
    """Every request was sent in time and answered well."""
    assert found["lost"] == 0, {key: found[key] for key in ("failed", "failures_by_second", "samples", "ms")}
    assert found["answered"] == found["sent"]
    total = sum(found["sent"].values())
    assert found["not_sent"] < 0.2 * (total + found["not_sent"]), "this machine had no time for the load"


def line(name: str, found: Found) -> str:
    """One target's result for people."""
    ms, sent = found["ms"], sum(found["sent"].values())
    late = f"; sent late by {found['lag_ms']['p99']} ms at p99" if found["lag_ms"]["p99"] else ""
    return f"{name}: {sent} sent, {found['lost']} lost; p50 {ms['p50']}, p99 {ms['p99']}, max {ms['max']} ms{late}"


class Typed:
    """A copy of a service that `docker-compose up -d`, typed by hand, updates: by recreating it."""

    FOLDER, PORT = "/opt/typed", 8590

    def __init__(self, server: Server, service: str) -> None:
        self.host = server.host
        (self.image,) = {one.image for name, one in server.ours().items() if name == service}

    def up(self, mark: str) -> None:
        """Another version of it; until it is ready."""
        env = {"SERVICE_NAME": "typed", "SERVICE_PORT": str(self.PORT), "STAND_IN_STARTUP_SECONDS": "3", "MARK": mark}
        service = {"image": self.image, "ports": [f"127.0.0.1:{self.PORT}:{self.PORT}"], "environment": env}
        self.host.put(f"{self.FOLDER}/docker-compose.yml", json.dumps({"services": {"typed": service}}))
        self.host.run(f"cd {self.FOLDER} && docker-compose up -d", timeout=60)
        asked = f"curl -s -o /dev/null -w '%{{http_code}}' -m 1 http://127.0.0.1:{self.PORT}/ready"
        self.host.wait_for(lambda: self.host.run(asked, code=None) == "200", "the copy is ready", 30)

    def down(self) -> None:
        """Gone again."""
        self.host.run(f"cd {self.FOLDER} && docker-compose down -t 2; rm -r {self.FOLDER}", timeout=60)

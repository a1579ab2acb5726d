"""Load on a lab's server while something is done to it, and whether every request was answered and counted once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.host.servers import ROOT
from tests.lab.host import LabHost
from tests.lab.machine import docker_words

LAB = Path(__file__).parents[1] / "lab"
LOAD, COUNTED = LAB / "load.py", LAB / "counted.py"
THERE = "/run/lab/load.py"
DEADLINE = 60

Found = dict[str, Any]


class Load:
    """Load on some of a server's ports from inside it, for the time of a block; `found` has the result after it.

    A target is what tests/lab/load.py takes: `{"name": "changed", "port": 8514, "rate": 500}`.
    """

    def __init__(self, host: LabHost, *targets: Found, seconds: float | None = None) -> None:
        self.host, self.about = host, {"targets": list(targets), "seconds": seconds}
        self.found: dict[str, Found] = {}
        self._running: subprocess.Popen[str] | None = None

    def __enter__(self) -> Load:
        self.host.put(THERE, LOAD.read_text())
        words = docker_words("exec", "-i", self.host.container, "python3", THERE, json.dumps(self.about))
        pipe = subprocess.PIPE
        self._running = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._running.stderr is not None
        begun = self._running.stderr.readline()
        assert begun == "begun\n", begun
        return self

    def __exit__(self, *_: object) -> None:
        assert self._running is not None
        seconds = self.about["seconds"] or 0
        said, wrong = self._running.communicate(timeout=DEADLINE + seconds)
        assert self._running.returncode == 0, wrong
        self.found = json.loads(said)["targets"]

    def run(self) -> dict[str, Found]:
        """For `seconds`, with nothing else going on."""
        with self:
            pass
        return self.found


def counted(host: LabHost, service: str) -> Found:
    """What all processes of a service have counted since `forget`."""
    return json.loads(host.run(["python3", "-", f"{ROOT}/data/{service}/counted"], stdin=COUNTED.read_text()))


def forget(host: LabHost, service: str) -> None:
    """Begin to count anew: what runs now goes on with files that nobody sees."""
    host.run(["rm", "-rf", f"{ROOT}/data/{service}/counted"])


def assert_none_lost(found: Found) -> None:
    """Every request was sent in time and answered well."""
    assert found["lost"] == 0, {key: found[key] for key in ("failed", "failures_by_second", "samples", "ms")}
    assert found["answered"] == found["sent"]
    total = sum(found["sent"].values())
    assert found["not_sent"] < 0.2 * (total + found["not_sent"]), "this machine had no time for the load"


def assert_exact(found: Found, there: Found) -> None:
    """Each POST was counted once, by one process: none lost, none twice. The processes began to count with the load."""
    assert there["twice"] == 0, there
    assert there["missing"] == 0, there
    assert there["posts"] == there["ids"] == found["posts_answered"] == found["sent"]["POST"]
    assert set(there["processes"]) <= set(found["served_by"])


def line(name: str, found: Found) -> str:
    """One target's result for people."""
    ms, sent = found["ms"], sum(found["sent"].values())
    late = f"; sent late by {found['lag_ms']['p99']} ms at p99" if found["lag_ms"]["p99"] else ""
    return f"{name}: {sent} sent, {found['lost']} lost; p50 {ms['p50']}, p99 {ms['p99']}, max {ms['max']} ms{late}"

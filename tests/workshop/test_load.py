"""The load generator tells each way to lose a request from the others, and its own delays from a service's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LOAD = Path(__file__).parents[1] / "lab" / "load.py"
DEADLINE = 60
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Server:
    """A server in a thread that answers as `behave` says; it remembers the ids of the POSTs that it got."""

    def __init__(self, behave: Callable[[Server, Reader, Writer, int], Awaitable[None]]) -> None:
        self.behave = behave
        self.ids: list[int] = []
        self.connections = self.requests = self.segments = 0
        self.port = 0
        self.started = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if found := re.search(r"content-length: (\d+)", head, re.IGNORECASE):
                    # It came with its head: nobody has to wait for it.
                    assert await asyncio.wait_for(reader.readexactly(int(found[1])), 5) == b"0123456789"
                if found := re.search(r"id=(\d+)", head):
                    self.ids.append(int(found[1]))
                self.requests += 1
                await self.behave(self, reader, writer, self.requests)
                if "connection: close" in head.lower():
                    writer.close()
        writer.close()


@contextlib.contextmanager
def serving(behave: Callable[[Server, Reader, Writer, int], Awaitable[None]]) -> Iterator[Server]:
    server = Server(behave)
    server.thread.start()
    try:
        assert server.started.wait(10)
        yield server
    finally:
        server.loop.call_soon_threadsafe(server.loop.stop)
        server.thread.join(10)


def answer(writer: Writer, status: str = "200 OK", more: str = "") -> None:
    body = '{"count": 1, "process": "cafe"}'
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode())


async def well(_: Server, __: Reader, writer: Writer, ___: int) -> None:
    answer(writer)


def load(*targets: dict[str, Any], seconds: float = 0.5) -> dict[str, Any]:
    about = {"targets": [{"rate": 200, **one} for one in targets], "seconds": seconds}
    done = subprocess.run(
        [sys.executable, LOAD, json.dumps(about)], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "begun\n"
    (line,) = done.stdout.splitlines()
    return json.loads(line)["targets"]


def test_all_is_well_with_several_targets_at_their_rates() -> None:
    with serving(well) as one, serving(well) as other:
        found = load(
            {"name": "one", "port": one.port, "rate": 200, "first_id": 1000},
            {"name": "other", "port": other.port, "rate": 100},
        )
        assert sorted(one.ids) == list(range(1000, 1000 + found["one"]["sent"]["POST"]))
        assert one.requests == sum(found["one"]["sent"].values())
        assert one.connections < 0.75 * one.requests, "half of them keep theirs"
        assert one.connections >= 0.5 * one.requests, "and half don't"
    for name, rate in (("one", 200), ("other", 100)):
        about = found[name]
        sent = about["sent"]
        assert rate * 0.45 <= sum(sent.values()) + about["not_sent"] <= rate / 2 + 1
        assert abs(sent["GET"] - sent["POST"]) <= 1 + about["not_sent"]
        assert about["answered"] == sent
        assert (about["lost"], about["failed"], about["failures_by_second"]) == (0, {}, {})
        assert about["served_by"] == {"cafe": sum(sent.values())}
        assert 0 < about["ms"]["p50"] <= about["ms"]["p99"] <= about["ms"]["max"]
        assert about["lag_ms"]["p50"] >= 0
    assert found["one"]["highest_id"] == 999 + found["one"]["posts_answered"]


async def resets(_: Server, __: Reader, writer: Writer, number: int) -> None:
    if number % 10:
        answer(writer)
        return
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def closes(_: Server, __: Reader, writer: Writer, number: int) -> None:
    if number % 10:
        answer(writer)
        return
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
    writer.close()


async def silent(_: Server, __: Reader, writer: Writer, number: int) -> None:
    if number % 10:
        answer(writer)
    else:
        await asyncio.sleep(30)


async def unavailable(_: Server, __: Reader, writer: Writer, number: int) -> None:
    answer(writer, *([] if number % 10 else ["503 Service Unavailable"]))


async def nonsense(_: Server, __: Reader, writer: Writer, number: int) -> None:
    answer(writer) if number % 10 else writer.write(b"220 smtp.example ESMTP\r\n\r\n")


@pytest.mark.parametrize(
    ("behave", "kind"),
    [(resets, "reset"), (closes, "closed"), (silent, "timed out"), (unavailable, "status 503"),
     (nonsense, "malformed")],
)  # fmt: skip
def test_each_kind_of_loss_is_counted(behave: Any, kind: str) -> None:
    with serving(behave) as server:
        about = load({"name": "x", "port": server.port, "timeout": 0.5})["x"]
        lost = server.requests // 10
        assert server.requests == sum(about["sent"].values())
    assert lost >= 8
    assert about["lost"] == lost
    assert set(about["failed"]) == {kind}
    # Every tenth of four turns: all of them are GET or POST, and by connection as they came.
    assert sum(about["failed"][kind].values()) == sum(about["failures_by_second"].values()) == lost
    assert set(about["failures_by_second"]) <= {"0", "1"}
    assert sum(about["answered"].values()) == sum(about["sent"].values()) - lost
    assert len(about["samples"]) == min(lost, 20)
    assert {one["kind"] for one in about["samples"]} == {kind}


def test_a_lost_post_is_told_by_its_id_and_nothing_is_sent_twice() -> None:
    async def loses_posts(server: Server, _: Reader, writer: Writer, __: int) -> None:
        if server.ids and server.ids[-1] % 5 == 4:
            writer.close()
        else:
            answer(writer)

    with serving(loses_posts) as server:
        about = load({"name": "x", "port": server.port})["x"]
        assert len(server.ids) == len(set(server.ids)) == about["sent"]["POST"]
    lost = {one["id"] for one in about["samples"] if one["id"] is not None}
    assert lost
    assert all(ident % 5 == 4 for ident in lost)


def test_a_port_on_which_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        about = load({"name": "x", "port": closed.getsockname()[1]}, seconds=0.3)["x"]
    assert about["lost"] == sum(about["sent"].values()) >= 40
    assert set(about["failed"]) == {"refused"}
    assert {what.split()[1] for what in about["failed"]["refused"]} == {"new", "kept"}


def test_a_kept_connection_that_was_closed_in_time_loses_nothing() -> None:
    async def closes_later(_: Server, __: Reader, writer: Writer, ___: int) -> None:
        answer(writer)
        asyncio.get_running_loop().call_later(0.01, writer.close)

    with serving(closes_later) as server:
        about = load({"name": "x", "port": server.port, "rate": 40})["x"]
    assert about["lost"] == 0
    assert about["closed_while_idle"] >= 5


def test_one_that_says_so_is_not_used_again() -> None:
    async def last(_: Server, __: Reader, writer: Writer, ___: int) -> None:
        answer(writer, more="Connection: close\r\n")

    with serving(last) as server:
        about = load({"name": "x", "port": server.port})["x"]
        assert server.connections == server.requests
    assert about["lost"] == about["closed_while_idle"] == 0


def test_a_slow_service_is_slow_and_holds_up_nobody() -> None:
    async def slow(_: Server, __: Reader, writer: Writer, ___: int) -> None:
        await asyncio.sleep(0.3)
        answer(writer)

    with serving(slow) as server:
        about = load({"name": "x", "port": server.port})["x"]
    assert sum(about["sent"].values()) + about["not_sent"] >= 95, "sent when it was due, not when the last was answered"
    assert about["ms"]["p50"] >= 300
    assert about["lost"] == 0


def test_its_own_delay_is_not_the_services() -> None:
    with serving(well) as server:
        about = json.dumps({"targets": [{"name": "x", "port": server.port, "rate": 100}], "seconds": 1.5})
        running = subprocess.Popen(
            [sys.executable, LOAD, about], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert running.stderr is not None
        assert running.stderr.readline() == "begun\n"
        time.sleep(0.3)
        running.send_signal(19)  # SIGSTOP: a machine that has no time for it
        time.sleep(0.7)
        running.send_signal(18)
        said, _ = running.communicate(timeout=DEADLINE)
        found = json.loads(said)["targets"]["x"]
    assert found["lost"] == 0
    assert 50 <= found["not_sent"] <= 90
    assert sum(found["sent"].values()) == sum(found["answered"].values()) >= 50
    assert found["ms"]["p50"] < 100
    assert found["lag_ms"]["max"] <= 150


def test_it_ends_when_its_stdin_closes() -> None:
    with serving(well) as server:
        about = json.dumps({"targets": [{"name": "x", "port": server.port, "rate": 50}]})
        running = subprocess.Popen(
            [sys.executable, LOAD, about],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stderr is not None
        assert running.stderr.readline() == "begun\n"
        time.sleep(0.5)
        assert running.poll() is None
        said, _ = running.communicate(timeout=DEADLINE)
        assert json.loads(said)["targets"]["x"]["lost"] == 0


def test_workers_send_as_much_as_is_answered() -> None:
    with serving(well) as server:
        about = load({"name": "x", "port": server.port, "rate": 0, "workers": 4})["x"]
        assert server.connections == 4
    assert about["sent"] == about["answered"]
    assert about["per_second"] > 100
    assert about["lost"] == 0

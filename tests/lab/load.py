"""Load on ports of a host, and what became of every request. One file, standard library only, for inside a lab host.

    python3 load.py '{"targets": [{"name": "changed", "port": 8501, "rate": 500}], "seconds": 30}'

Without `seconds` until its stdin closes. The first line on stderr says that the load has begun; the result is one line
of JSON on stdout.

A target has a `name`, a `port`, and: `host` (127.0.0.1), `path` (/count), `first_id` (0), `timeout` in seconds (10),
and either `rate` (requests a second, sent at their time whatever becomes of the others) or `workers` (that many, each
sends its next request when the last one is answered, on connections that are kept: for throughput).

At a rate GET and POST, on new connections and on kept ones, take turns; each POST has an id of its own. Nothing is ever
sent twice. What this program does not do in time it doesn't put down to the service: a request's time begins when it
is really sent, `lag_ms` says how late that was, and what is later than CATCH_UP seconds isn't sent (`not_sent`).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import itertools
import json
import os
import re
import resource
import signal
import socket
import sys
import threading
import time

CATCH_UP = 0.1
POOL = 64
"""Kept connections at most, as any client's pool has a limit."""
SAMPLES = 20
SLOW = 0.05
"""Seconds; how many answers took longer is counted for each second of the load."""
TURNS = (("GET", "new"), ("POST", "new"), ("GET", "kept"), ("POST", "kept"))
BODY = b"0123456789"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
PROCESS = re.compile(rb'"process": ?"(\w+)"')


class Closed(Exception):
    """The other side ended the connection before it had answered."""


class Malformed(Exception):
    """An answer that isn't HTTP/1.1 with a length."""


class Target:
    """One port, and what became of the requests to it."""

    def __init__(self, about: dict) -> None:
        self.name, self.host, self.port = about["name"], about.get("host", "127.0.0.1"), int(about["port"])
        self.path, self.timeout = about.get("path", "/count"), float(about.get("timeout", 10))
        self.rate, self.workers = float(about.get("rate", 0)), int(about.get("workers", 0))
        self.ids = itertools.count(int(about.get("first_id", 0)))
        self.pool: collections.deque[socket.socket] = collections.deque()
        self.sent: collections.Counter[str] = collections.Counter()
        self.answered: collections.Counter[str] = collections.Counter()
        self.failed: dict[str, collections.Counter[str]] = {}
        self.by_second: collections.Counter[int] = collections.Counter()
        self.slow: collections.Counter[int] = collections.Counter()
        self.served_by: collections.Counter[str] = collections.Counter()
        self.samples: list[dict] = []
        self.milliseconds: list[float] = []
        self.lag: list[float] = []
        self.not_sent = self.closed_while_idle = 0
        self.posts: list[int] = []

    def kept(self) -> socket.socket | None:
        """A connection that is still open. The one that waits longest: all of them are in use all the time."""
        while self.pool:
            connection = self.pool.popleft()
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    connection.close()  # words that nobody asked for
                    continue
            except BlockingIOError:
                return connection
            except OSError:
                pass
            self.closed_while_idle += 1  # it was told in time: nothing had been sent
            connection.close()
        return None

    def fail(self, kind: str, what: str, second: float, ident: int | None) -> None:
        """One request that was lost."""
        self.failed.setdefault(kind, collections.Counter())[what] += 1
        self.by_second[int(second)] += 1
        if len(self.samples) < SAMPLES:
            self.samples.append({"second": round(second, 3), "kind": kind, "what": what, "id": ident})

    def result(self, seconds: float) -> dict:
        """Everything about it, for the JSON line. Times are in milliseconds."""
        failed = sum(sum(counter.values()) for counter in self.failed.values())
        return {
            "sent": dict(self.sent),
            "answered": dict(self.answered),
            "lost": failed,
            "failed": {kind: dict(counter) for kind, counter in self.failed.items()},
            "failures_by_second": {str(second): count for second, count in sorted(self.by_second.items())},
            "samples": self.samples,
            "slow_by_second": {str(second): count for second, count in sorted(self.slow.items()) if count},
            "posts_answered": len(self.posts),
            "highest_id": max(self.posts, default=-1),
            "served_by": dict(self.served_by),
            "not_sent": self.not_sent,
            "closed_while_idle": self.closed_while_idle,
            "per_second": round(sum(self.answered.values()) / seconds, 1),
            "ms": spread(self.milliseconds),
            "lag_ms": spread(self.lag),
        }


def spread(values: list[float]) -> dict:
    """Median, 99th percentile and the largest of seconds, in milliseconds."""
    if not values:
        return {"p50": None, "p99": None, "max": None}
    found = sorted(values)
    at = {"p50": found[len(found) // 2], "p99": found[int(len(found) * 0.99)], "max": found[-1]}
    return {name: round(value * 1000, 3) for name, value in at.items()}


class Load:
    """All targets at once."""

    def __init__(self, about: dict) -> None:
        self.targets = [Target(one) for one in about["targets"]]
        self.seconds = about.get("seconds")
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.under_way: set[asyncio.Task] = set()
        self.began = 0.0

    async def run(self) -> dict:
        """Until it is time to stop and the last request is answered, or not."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stop.set)
        if self.seconds is None:
            threading.Thread(target=self._until_stdin_closes, daemon=True).start()
        else:
            self.loop.call_later(float(self.seconds), self.stop.set)
        self.began, wall = self.loop.time(), time.time()
        print("begun", file=sys.stderr, flush=True)
        paces = [self._pace(one) if one.rate else self._work(one) for one in self.targets]
        await asyncio.gather(*paces)
        seconds = self.loop.time() - self.began
        while self.under_way:
            await asyncio.gather(*self.under_way)
        results = {one.name: one.result(seconds) for one in self.targets}
        return {"began": wall, "seconds": round(seconds, 3), "targets": results}

    def _until_stdin_closes(self) -> None:
        while os.read(0, 4096):
            pass
        self.loop.call_soon_threadsafe(self.stop.set)

    async def _pace(self, target: Target) -> None:
        """At its rate: each request when it is due, whatever becomes of the others."""
        for number in itertools.count():
            due = self.began + number / target.rate
            while (wait := due - self.loop.time()) > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), wait) if wait > 0.05 else await asyncio.sleep(wait)
                if self.stop.is_set():
                    return
            if self.stop.is_set():
                return
            if -wait > CATCH_UP:  # of ours: all that is overdue at once would be another load than this one
                target.not_sent += 1
                continue
            target.lag.append(-wait)
            task = self.loop.create_task(self.request(target, *TURNS[number % len(TURNS)]))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _work(self, target: Target) -> None:
        """As much as is answered."""

        async def one() -> None:
            while not self.stop.is_set():
                await self.request(target, "GET", "kept")
                await asyncio.sleep(0)  # an answer that is there at once lets nobody else have a turn

        await asyncio.gather(*(one() for _ in range(target.workers)))

    async def request(self, target: Target, method: str, connection: str) -> None:
        """One request, once, and what became of it."""
        ident = next(target.ids) if method == "POST" else None
        begun = self.loop.time()
        target.sent[method] += 1
        try:
            async with asyncio.timeout(target.timeout):
                answer = await self._exchange(target, method, connection, ident)
        except Exception as error:
            target.fail(kind_of(error), f"{method} {connection}", begun - self.began, ident)
            return
        spent = self.loop.time() - begun
        status, process = answer
        if status != 200:
            target.fail(f"status {status}", f"{method} {connection}", begun - self.began, ident)
            return
        target.milliseconds.append(spent)
        target.slow[int(begun - self.began)] += spent > SLOW
        target.answered[method] += 1
        target.served_by[process] += 1
        if ident is not None:
            target.posts.append(ident)

    async def _exchange(self, target: Target, method: str, connection: str, ident: int | None) -> tuple[int, str]:
        """Status, and the process that answered ("" where the answer doesn't tell)."""
        found = target.kept() if connection == "kept" else None
        if found is None:
            found = socket.socket()
            found.setblocking(False)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        good = False
        try:
            if not _connected(found):
                await self.loop.sock_connect(found, (target.host, target.port))
            await self.loop.sock_sendall(found, message(target, method, connection, ident))
            status, process, closing = await self._answer(found)
            good = connection == "kept" and not closing and len(target.pool) < POOL
        finally:
            target.pool.append(found) if good else found.close()
        return status, process

    async def _answer(self, connection: socket.socket) -> tuple[int, str, bool]:
        """Status, process, and whether the other side closes the connection now."""
        said = b""
        while (end := said.find(b"\r\n\r\n")) < 0:
            said += await self._more(connection)
        head, body = said[: end + 2], said[end + 4 :]
        length = LENGTH.search(head)
        try:
            status = int(head.split(b" ", 2)[1])
        except (IndexError, ValueError):
            status = 0
        if length is None or not head.startswith(b"HTTP/1.1 ") or not status:
            raise Malformed(head[:60])
        while len(body) < int(length[1]):
            body += await self._more(connection)
        process = PROCESS.search(body)
        return status, process[1].decode() if process else "", CLOSE.search(head) is not None

    async def _more(self, connection: socket.socket) -> bytes:
        data = await self.loop.sock_recv(connection, 65536)
        if not data:
            raise Closed
        return data


def message(target: Target, method: str, connection: str, ident: int | None) -> bytes:
    """Head and body in one piece: a body that comes after its head makes some servers wait."""
    body = BODY if method == "POST" else b""
    lines = [f"{method} {target.path}{'' if ident is None else f'?id={ident}'} HTTP/1.1", f"Host: {target.name}"]
    lines += [f"Content-Length: {len(body)}"] if body else []
    lines += ["Connection: close"] if connection == "new" else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def kind_of(error: Exception) -> str:
    """In one word how a request was lost; what is this program's own fault says so."""
    if isinstance(error, TimeoutError):
        return "timed out"
    kinds = {ConnectionRefusedError: "refused", ConnectionResetError: "reset", BrokenPipeError: "reset"}
    kinds |= {Closed: "closed", Malformed: "malformed"}
    if type(error) in kinds:
        return kinds[type(error)]
    if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
        return "unreachable"
    return f"own: {type(error).__name__}: {error}"


def _connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


async def main(about: dict) -> None:
    """The load, and the line about it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(OSError):
        os.nice(-5)  # whoever measures must not be late
    print(json.dumps(await Load(about).run()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

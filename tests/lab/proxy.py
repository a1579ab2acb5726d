"""A TCP proxy that makes a server far away: it adds a round trip's time, and takes nothing of the bandwidth."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

CHUNK = 65536


class _Proxy:
    """Runs in a thread of its own, so that tests stay plain functions."""

    def __init__(self, listen: str, target: tuple[str, int], round_trip: float) -> None:
        self.listen, self.target, self.round_trip = listen, target, round_trip
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        if not self._started.wait(10) or not self.port:
            raise AssertionError(f"the proxy can't listen on {self.listen}")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            server = self._loop.run_until_complete(asyncio.start_server(self._serve, self.listen, 0))
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            self._loop.run_forever()
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0.01))
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A new connection costs a round trip before anybody can say anything.
        await asyncio.sleep(self.round_trip)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """One direction: everything half a round trip later, as much at once as comes."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    if sink.can_write_eof():
                        sink.write_eof()
                    return
                sink.write(data)
                await sink.drain()

        arriving = asyncio.ensure_future(arrive())
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                waiting.put_nowait((loop.time() + self.round_trip / 2, data))
        waiting.put_nowait((loop.time() + self.round_trip / 2, b""))
        with contextlib.suppress(OSError):
            await arriving


@contextlib.contextmanager
def delayed(listen: str, target: tuple[str, int], milliseconds: float) -> Iterator[int]:
    """The port on `listen` behind which `target` is `milliseconds` of round trip away."""
    proxy = _Proxy(listen, target, milliseconds / 1000)
    proxy.start()
    try:
        yield proxy.port
    finally:
        proxy.stop()

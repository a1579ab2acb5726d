"""`python -m standin`: runs the service that the environment names until SIGTERM or SIGINT.

Exit 0: stopped by a signal, after finishing the requests under way. 1: can't run here (the port is taken, the
store can't be opened). 2: the environment is wrong. 3: it was to crash (`STAND_IN_CRASH_AFTER_READY_SECONDS`).
"""

import os
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

from standin import lean, log
from standin.databases import network_detail
from standin.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    import uvicorn

#: Connections that wait while the service is busy.
BACKLOG = 1024


class _Stop:
    """Ends the process with exit code 0, at once while it starts, gracefully once there is a server.

    An exception raised in a handler would not do: where Python happens to be in a destructor or a callback it is
    swallowed, and the signal is lost.
    """

    server: "uvicorn.Server | None" = None

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        if self.server is None:
            os._exit(0)  # nothing is being served, and what is stored survives worse
        # uvicorn has handlers of its own while it runs; this stays set if the signal comes before those.
        self.server.should_exit = True


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    listener = socket.create_server((settings.bind, settings.port), family=family, backlog=BACKLOG)
    # Each connection inherits it; asyncio sets it only on sockets that were made with a protocol, which this one isn't.
    # Without it an answer's body waits up to 40 ms for its head's acknowledgement on a connection that is kept.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _serve(settings: Settings, listener: socket.socket, stop: _Stop) -> int:
    # Late, because these are most of the start's time: a wrong environment or a busy port is told at once.
    import uvicorn

    from standin.app import Service
    from standin.errors import StoreError
    from standin.protocol import Protocol

    try:
        service = Service(settings)
    except StoreError as error:
        log.error("can't open its store", detail=str(error), cure="see SERVICE_DATA")
        return 1
    config = uvicorn.Config(
        service.asgi(),
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings.stop_seconds,
    )
    stop.server = uvicorn.Server(config)
    try:
        stop.server.run(sockets=[listener])
    finally:
        log.info("stopped")
    return 0


def main() -> int:
    """Runs the service; returns the exit code."""
    stop = _Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    lean.refuse_unused_extras()
    try:
        settings = load(os.environ)
    except SettingsError as error:
        log.setup(os.environ.get("SERVICE_NAME") or "stand-in")
        for problem in error.problems:
            log.error("wrong environment", detail=problem)
        return 2
    log.setup(settings.name)
    try:
        listener = _listen(settings)
    except OSError as error:
        address = f"{settings.bind}:{settings.port}"
        cure = "free the port or set another SERVICE_PORT"
        log.error("can't listen", address=address, detail=network_detail(error) or str(error), cure=cure)
        return 1
    return _serve(settings, listener, stop)


if __name__ == "__main__":
    sys.exit(main())

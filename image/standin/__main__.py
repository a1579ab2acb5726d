"""`python -m standin`: runs the service that the environment names until SIGTERM or SIGINT.

Exit 0: stopped by a signal, after finishing the requests under way. 1: can't run here (the port is taken, the
store can't be opened). 2: the environment is wrong.
"""

import os
import signal
import socket
import sys
from types import FrameType

from standin import lean, log
from standin.databases import network_detail
from standin.settings import Settings, SettingsError, load

#: Connections that wait while the service is busy.
BACKLOG = 1024


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """Ends the process with exit code 0.

    Before the server runs this is the stop itself. While it runs, uvicorn has its own handlers, stops
    gracefully, and raises the signal again at the end: that is here again, where the default would make it a
    death by signal.
    """
    raise SystemExit(0)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    return socket.create_server((settings.bind, settings.port), family=family, backlog=BACKLOG)


def _serve(settings: Settings, listener: socket.socket) -> int:
    # Late, because these are most of the start's time: a wrong environment or a busy port is told at once.
    import uvicorn

    from standin.app import Service
    from standin.errors import StoreError

    try:
        service = Service(settings)
    except StoreError as error:
        log.error("can't open its store", detail=str(error), cure="see SERVICE_DATA")
        return 1
    config = uvicorn.Config(
        service.asgi(),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings.stop_seconds,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        log.info("stopped")
    return 0


def main() -> int:
    """Runs the service; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
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
    return _serve(settings, listener)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m standin.probe`: asks the service in this container for `/health`; exit 0 when it answers 200.

For the image's HEALTHCHECK, which runs it every few seconds: a plain socket costs a fifth of an HTTP client's
imports.
"""

import os
import socket
import sys

#: Seconds for the whole of connect and answer.
TIMEOUT_SECONDS = 2.0


def healthy(host: str, port: int, timeout: float = TIMEOUT_SECONDS) -> bool:
    """Whether `GET /health` on host:port answers 200 within `timeout` seconds for each step."""
    request = f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(request.encode("ascii"))
            status_line = connection.makefile("rb").readline(100)
    except OSError:
        return False
    return status_line.startswith(b"HTTP/1.1 200 ")


def main() -> int:
    """Probes the port of this service's own environment; returns the exit code."""
    port = os.environ.get("SERVICE_PORT") or os.environ.get("PORT") or ""
    bind = os.environ.get("SERVICE_BIND", "")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    if not port.isdecimal():
        print("standin.probe: SERVICE_PORT is not set", file=sys.stderr)
        return 2
    if healthy(host, int(port)):
        return 0
    print(f"standin.probe: no 200 from {host}:{port}/health", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

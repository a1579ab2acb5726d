"""A service of a few lines whose behaviour the environment chooses; standard library only.

MODE: ok; crash (says something and ends at once); never (answers 503 for ever); late (healthy after LATE
seconds); deaf (ignores SIGTERM); drop (ends two seconds after it became healthy).
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODE = os.environ.get("MODE", "ok")
STARTED = time.monotonic()


def status() -> int:
    if MODE == "never":
        return 503
    if MODE == "late" and time.monotonic() - STARTED < float(os.environ["LATE"]):
        return 503
    return 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(status() if self.path == "/health" else 200)
        self.end_headers()
        known = {"pid": os.getpid(), "env": dict(os.environ), "cwd": str(Path.cwd()), "argv": sys.argv}
        self.wfile.write(json.dumps(known).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    print(f"starting, MODE={MODE}", flush=True)
    if MODE == "crash":
        for number in range(30):
            print(f"line {number} of the crash", flush=True)
        print(f"the password is {os.environ.get('BLOCKCHAIN_MYSQL_PASSWORD', 'unknown')}", flush=True)
        sys.exit(3)
    server = ThreadingHTTPServer(
        (os.environ.get("SERVICE_BIND", "127.0.0.1"), int(os.environ["SERVICE_PORT"])), Handler
    )
    if MODE == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if MODE == "drop":
        threading.Timer(2.0, lambda: os._exit(4)).start()
    server.serve_forever(poll_interval=0.05)
    print("ended cleanly", flush=True)


main()

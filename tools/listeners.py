"""Who listens on a TCP port of this machine. Stdlib only; Linux by /proc, elsewhere by lsof when it is there."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LISTEN = "0A"  # its state in /proc/net/tcp


@dataclass(frozen=True)
class Listener:
    pid: int | None
    command: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid})" if self.pid else self.command


def taken(port: int, address: str = "127.0.0.1") -> bool:
    """Nobody else could listen there now. Tried as servers do: a connection that just closed doesn't count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        if caller.connect_ex((address, port)) == 0:
            return True  # macOS would let us listen beside one that listens on all addresses
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError:
            return True
    return False


def who(port: int) -> Listener:
    found = _by_proc(port) if Path("/proc/net/tcp").exists() else _by_lsof(port)
    return found or Listener(None, "another program, perhaps another user's")


def _by_proc(port: int) -> Listener | None:
    sockets: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                field = line.split()
                if field[3] == LISTEN and int(field[1].rsplit(":", 1)[1], 16) == port:
                    sockets.add(f"socket:[{field[9]}]")
    if not sockets:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        words = (process / "cmdline").read_bytes().split(b"\0")
                        return Listener(int(process.name), b" ".join(words).decode(errors="replace").strip()[:80])
    return None


def _by_lsof(port: int) -> Listener | None:
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        fields = {line[0]: line[1:] for line in told.stdout.splitlines() if line}
        if "p" in fields:
            return Listener(int(fields["p"]), fields.get("c", "?"))
    return None

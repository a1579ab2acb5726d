"""Real databases for tests: MariaDB, Redis and PostgreSQL from Debian's packages, on free ports, in folders
of their own.

    with databases.redis() as server:
        ... server.host, server.port, server.password
        server.stop(); server.start()

`ensure_installed()` puts the packages there (Debian, as root) or says why it can't; tests then skip with that
reason. Nothing here touches a server that already runs on the machine: no service is started by the packages,
each server gets its own data folder, port and socket, listens on 127.0.0.1 only, and ends with its `with`
block.
"""

import contextlib
import functools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import packages

#: Seconds for a server to accept a connection on a slow machine, and to end.
START_SECONDS = 90.0
STOP_SECONDS = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def ensure_installed() -> str | None:
    """Installs what is missing; None when all three servers are there, else the reason why they are not."""
    return packages.ensure(packages.DATABASES)


@dataclass
class Server:
    """One running database. `stop()` and `start()` keep its data and port."""

    kind: str
    port: int
    user: str
    password: str
    command: list[str]
    folder: Path
    ready: Callable[[], bool]
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """Where the server's output goes."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Starts the server and waits until it answers. Raises `RuntimeError` with its last log lines."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
                raise RuntimeError(f"{self.kind} did not start:\n" + "\n".join(lines))
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends the server; does nothing when it doesn't run."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        self.process = None


def _as_user(name: str, folder: Path) -> list[str]:
    """The prefix that runs a program as `name` when we are root, with `folder` made that user's."""
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(name)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    # setpriv replaces itself by the server, so that our signals reach it; runuser would stay in between.
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]


def _run(command: list[str], text: str = "") -> bool:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    return done.returncode == 0


def _checked(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{what} failed: {(done.stderr or done.stdout).strip()[-800:]}")


@contextlib.contextmanager
def _running(make: Callable[[Path], Server]) -> Iterator[Server]:
    # Short, because a unix socket's path has at most 107 bytes; open to pass through, because servers run as
    # other users.
    folder = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
    folder.chmod(0o755)
    server: Server | None = None
    try:
        server = make(folder)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def redis(port: int = 0, password: str = "") -> Iterator[Server]:
    """A Redis server; `password` is that of the default user."""

    def make(folder: Path) -> Server:
        number = port or free_port()
        config = folder / "redis.conf"
        lines = [
            f"port {number}",
            "bind 127.0.0.1",
            'save ""',
            f"dir {folder}",
            "appendonly no",
            "daemonize no",
        ]
        lines += [f"requirepass {password}"] if password else []
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        client = [packages.program("redis-cli") or "redis-cli", "-h", "127.0.0.1", "-p", str(number), "PING"]
        return Server(
            "redis", number, "", password, [packages.program("redis-server") or "redis-server", str(config)], folder,
            lambda: _run(client),
        )  # fmt: skip

    with _running(make) as server:
        yield server


@contextlib.contextmanager
def mariadb(port: int = 0, password: str = "") -> Iterator[Server]:
    """A MariaDB server; user `root` logs in over TCP with `password` (none: without one)."""

    def make(folder: Path) -> Server:
        number = port or free_port()
        data = folder / "data"
        data.mkdir()
        # The server itself changes from root to its user, which needs a folder of its own.
        owner = ["--user=mysql"] if os.geteuid() == 0 else []
        if owner:
            shutil.chown(folder, "mysql", "mysql")
            shutil.chown(data, "mysql", "mysql")
        _checked(
            [packages.program("mariadb-install-db") or "mariadb-install-db", "--no-defaults", f"--datadir={data}",
             "--auth-root-authentication-method=normal", "--skip-test-db", *owner],
            "mariadb-install-db",
        )  # fmt: skip
        init = folder / "init.sql"
        init.write_text(f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n", encoding="utf-8")
        init.chmod(0o644)
        sock = folder / "s"
        command = [
            packages.program("mariadbd") or "mariadbd", "--no-defaults", *owner, f"--datadir={data}",
            f"--port={number}", "--bind-address=127.0.0.1", f"--socket={sock}",
            f"--pid-file={folder / 'pid'}",
            f"--init-file={init}",
            "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--performance-schema=OFF",
            "--skip-name-resolve=OFF",
        ]  # fmt: skip
        options = folder / "client.cnf"
        options.write_text(f"[client]\nuser=root\npassword={password}\n", encoding="utf-8")
        options.chmod(0o600)
        query = [packages.program("mariadb") or "mariadb", f"--defaults-file={options}", "--protocol=tcp", "-h",
        "127.0.0.1",
                 "-P", str(number), "-e", "SELECT 1"]  # fmt: skip
        return Server("mysql", number, "root", password, command, folder, lambda: _run(query))

    with _running(make) as server:
        yield server


@contextlib.contextmanager
def postgres(port: int = 0, password: str = "") -> Iterator[Server]:
    """A PostgreSQL server; user `postgres` logs in over TCP with `password` (none: trusted)."""

    def make(folder: Path) -> Server:
        number = port or free_port()
        prefix = _as_user("postgres", folder)
        data = folder / "data"
        secret = folder / "password"
        secret.write_text((password or "unused") + "\n", encoding="utf-8")
        secret.chmod(0o644)
        _checked(
            [*prefix, packages.program("initdb") or "initdb", "-D", str(data), "-U", "postgres", f"--pwfile={secret}",
             f"--auth={'scram-sha-256' if password else 'trust'}", "--no-sync"],
            "initdb",
        )  # fmt: skip
        secret.unlink()
        command = [
            *prefix, packages.program("postgres") or "postgres", "-D", str(data), "-p", str(number),
            "-h", "127.0.0.1", "-k", str(folder), "-c", "shared_buffers=16MB", "-c", "fsync=off",
        ]  # fmt: skip
        asks = [packages.program("pg_isready") or "pg_isready", "-h", "127.0.0.1", "-p", str(number), "-q"]
        return Server("postgres", number, "postgres", password, command, folder, lambda: _run(asks))

    with _running(make) as server:
        yield server

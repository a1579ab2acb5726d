"""Talks to one supervisord over its unix socket, and starts and ends it.

supervisord is started with ROOT as its working directory, so that the configuration holds relative paths
only: an absolute one with a `%`, a space or a quote in it would be taken apart by its parser. Its socket is
the exception (supervisord makes that path absolute, and the system allows some hundred bytes): a long ROOT
is reached through a short link, see `config_path`.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
import subprocess
import time
import xmlrpc.client
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, TypedDict, cast

from hostctl.environment import outside_environment
from hostctl.errors import HostctlError, RuntimeRefused
from hostctl.identity import Identity, alive, identify, program_of, with_argument
from hostctl.layout import Layout, read_json, read_text, remove, write_json

# macOS allows 103 bytes; supervisord binds PATH.PID first and a pid may have 7 digits.
LONGEST_SOCKET = 103 - len(".4194304")
START_SECONDS = 30.0
RPC_SECONDS = 10.0
# Services may take this long beyond their own grace period before we end supervisord the hard way.
SHUTDOWN_SECONDS = 90.0

SHUTDOWN_STATE, BAD_NAME, NOT_RUNNING, ALREADY_STARTED = 6, 10, 70, 60
ALREADY_ADDED, STILL_RUNNING, CANT_REREAD = 90, 91, 92


class Changes(NamedTuple):
    """Groups whose configuration in the file differs from the one in use."""

    added: List[str]
    changed: List[str]
    removed: List[str]


class _Known(TypedDict):
    """`state/supervisord.json`: what it was started with, and which process that became."""

    header: str
    process: Optional[Identity]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            _connect(connection, self._path)
        except BaseException:
            connection.close()
            raise
        self.sock = connection


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout
        self._open: Optional[_Connection] = None

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._open is None:
            self._open = _Connection(self._path, self._timeout)
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class Supervisord:
    """The supervisord of one ROOT."""

    def __init__(self, layout: Layout, timeout: float = RPC_SECONDS) -> None:
        self._layout = layout
        transport = _Transport(layout.socket, timeout)
        self._rpc = cast(Any, xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport))

    def answers(self) -> bool:
        """Whether it is there and not about to end."""
        return self.processes() is not None

    def processes(self) -> Optional[List[Dict[str, Any]]]:
        """All processes that it looks after; None when it doesn't answer or is about to end."""
        if not self._layout.socket.exists():
            return None
        try:
            return cast("List[Dict[str, Any]]", self._rpc.supervisor.getAllProcessInfo())
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == SHUTDOWN_STATE:
                return None
            raise HostctlError("supervisord: " + fault.faultString) from None
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError):
            return None

    def reload(self) -> Changes:
        """Reads the configuration file again; nothing that runs is touched by that."""
        config_path(self._layout)  # its own path to the file may lead over a link that was cleaned away
        try:
            found = self._rpc.supervisor.reloadConfig()[0]
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == CANT_REREAD:
                raise RuntimeRefused("supervisord: " + fault.faultString) from None
            raise HostctlError("supervisord: " + fault.faultString) from None
        return Changes(*found)

    def add(self, name: str) -> None:
        """Takes a group into use."""
        self._call("addProcessGroup", name, fine=(ALREADY_ADDED,))

    def remove(self, name: str) -> None:
        """Takes a stopped group out of use."""
        self._call("removeProcessGroup", name, fine=(BAD_NAME,))

    def start(self, name: str) -> None:
        """Starts without waiting; the health gate does the waiting."""
        self._call("startProcess", name, False, fine=(ALREADY_STARTED,))

    def stop(self, name: str) -> None:
        """Asks to stop, without waiting."""
        self._call("stopProcess", name, False, fine=(NOT_RUNNING, BAD_NAME))

    def _call(self, method: str, *arguments: object, fine: Tuple[int, ...]) -> None:
        try:
            getattr(self._rpc.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in fine:
                raise HostctlError("supervisord: " + fault.faultString) from None
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise HostctlError("supervisord does not answer: %s" % error) from None

    def identity(self) -> Optional[Identity]:
        """The living supervisord, reachable or not: as we started it, as it says, as its pid file says.

        And by what it was started with: somebody may have removed all of ROOT under it.
        """
        known = self._known()
        if known is not None and known["process"] and alive(known["process"]):
            return known["process"]
        try:
            return identify(int(self._rpc.supervisor.getPID()))
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ValueError):
            return self._by_pidfile() or self._by_command_line()

    def launch(self, program: str, header: str) -> None:
        """Starts it, detached from our terminal, session and descriptors; it survives our end (P1).

        It daemonizes itself after its socket is open, so its exit code tells whether it started.
        """
        # What it will run with is on record first: a crash between the two steps must not hide it.
        self._layout.make()  # it needs its folders, whatever somebody did to them
        write_json(self._layout.supervisord, {"header": header, "process": None})
        remove(self._layout.socket)
        config = config_path(self._layout)
        try:
            done = subprocess.run(
                [program, "-c", config],
                cwd=str(self._layout.root),
                env=outside_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                timeout=START_SECONDS,
                check=False,
            )
        except OSError as error:
            raise HostctlError("%s can't be started: %s" % (program, error.strerror)) from None
        except subprocess.TimeoutExpired:
            raise HostctlError("%s did not start within %d s" % (program, START_SECONDS)) from None
        if done.returncode != 0:
            text = done.stdout.decode("utf-8", "replace").strip().splitlines()
            raise RuntimeRefused("supervisord: " + "; ".join(text[:3] or ["exit %d" % done.returncode]))
        self._await_answer()
        write_json(self._layout.supervisord, {"header": header, "process": self._by_pidfile()})

    def header(self) -> str:
        """The digest of the settings that it was started with."""
        known = self._known()
        return known["header"] if known else ""

    def end(self) -> None:
        """Stops all services and supervisord, and waits for that."""
        process = self.identity()
        if process is None:
            return
        self._stop_all()
        try:
            self._rpc.supervisor.shutdown()
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            _signal(process, signal.SIGTERM)
        if not gone(process, SHUTDOWN_SECONDS):
            _signal(process, signal.SIGKILL)
            gone(process, 5.0)
        remove(self._layout.socket)
        remove(self._layout.pidfile)

    def _stop_all(self) -> None:
        """All at the same time; supervisord's own shutdown takes them one after the other."""
        try:
            for info in self.processes() or []:
                self.stop(info["name"])
            deadline = time.monotonic() + SHUTDOWN_SECONDS
            while any(info["pid"] for info in self.processes() or []) and time.monotonic() < deadline:
                time.sleep(0.03)
        except HostctlError:
            pass  # it does not answer as it should; shutting it down will do

    def _known(self) -> Optional[_Known]:
        return cast("Optional[_Known]", read_json(self._layout.supervisord))

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise HostctlError("supervisord was started but does not answer; see logs/supervisord.log")
            time.sleep(0.02)

    def _by_pidfile(self) -> Optional[Identity]:
        """The process of the pid file, if it is a supervisord: the number may be another's by now."""
        text = (read_text(self._layout.pidfile) or "").strip()
        if not text.isdigit() or "supervisord" not in program_of(int(text)):
            return None
        return identify(int(text))

    def _by_command_line(self) -> Optional[Identity]:
        pid = with_argument(config_path(self._layout))
        return identify(pid) if pid is not None and "supervisord" in program_of(pid) else None


def config_path(layout: Layout) -> str:
    """The path of the configuration that supervisord is started with.

    `%(here)s` is this path's folder, and the socket lies below it. When that would be longer than the
    system allows, it goes over a short link in a folder of ours under /tmp: the socket itself stays
    in ROOT/run, so that losing the link costs nothing (it is made again before every reload).
    """
    if len(os.fsencode(str(layout.socket))) <= LONGEST_SOCKET:
        return str(layout.supervisord_conf)
    import hashlib  # costs more than all else here, and few runs need it

    digest = hashlib.sha256(os.fsencode(str(layout.root))).hexdigest()[:16]
    # Not $TMPDIR: it may be long too, and differs between callers. Ours alone, as checked below.
    folder = Path("/tmp/hostctl-%d-%s" % (os.getuid(), digest))  # noqa: S108
    folder.mkdir(mode=0o700, exist_ok=True)
    found = os.lstat(str(folder))
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise HostctlError("%s is not ours alone: remove it" % folder)
    link = folder / "root"
    if not link.is_symlink() or os.readlink(str(link)) != str(layout.root):
        remove(link)
        link.symlink_to(layout.root)
    return str(link / layout.supervisord_conf.name)


def drop_link(layout: Layout) -> None:
    """Removes what `config_path` made."""
    link = Path(config_path(layout)).parent
    if link != layout.root:
        remove(link)
        link.parent.rmdir()


def gone(process: Identity, seconds: float) -> bool:
    """Waits for a process to end."""
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _signal(process: Identity, number: int) -> None:
    with suppress(OSError):
        os.kill(process["pid"], number)


def _connect(connection: socket.socket, path: Path) -> None:
    if len(os.fsencode(str(path))) <= LONGEST_SOCKET:
        connection.connect(str(path))
        return
    # A long path is reached from its folder. We are one thread wherever this matters.
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(str(path.parent))
        connection.connect(path.name)
    finally:
        os.fchdir(before)
        os.close(before)

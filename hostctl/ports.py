"""Who holds a port, so that a start that must fail says so before it stops anything (P6)."""

from __future__ import annotations

import os
import pwd
import re
import socket
import subprocess
import sys
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set
from urllib.parse import urlsplit

from hostctl.forms import ServiceDefinition
from hostctl.identity import program_of

_EVERYTHING = ("::", "*", "")  # `::` takes IPv4 as well, as a rule
_LISTEN = "0A"
_CURE = "end that, or choose another port"
# Engines start what is new before they take away what is no longer wanted.
_OUR_CURE = "if that one is being removed, run `up` again; else choose another port"
# Newer versions take more ports than Consul used to; the service keeps its documented one (D8).
_CONSUL = re.compile(r"\bconsul\b", re.IGNORECASE)
_CONSULS = "set Consul's ports (grpc_tls, ...) in its configuration, for example `ports { grpc_tls = -1 }` (D8)"


class Listener(NamedTuple):
    """A listening socket; pid 0 when the system doesn't tell us whose it is."""

    address: str
    port: int
    pid: int
    user: str


def strangers(
    definition: ServiceDefinition,
    found: Sequence[Listener],
    moving: Callable[[int], bool],
    name_of: Callable[[int], str],
) -> List[str]:
    """Sentences about those who hold a port that this service wants.

    `moving` knows the processes that will be gone by then, `name_of` this host's other services.
    """
    address = bind_address(definition)
    sentences: List[str] = []
    for port in definition["ports"]:
        for listener in found:
            if listener.port == port and collide(address, listener.address) and not moving(listener.pid):
                service = name_of(listener.pid)
                sentences.append(sentence(port, service or _whose(listener), ours=bool(service)))
                break
    return sentences


def sentence(port: int, holder: str, ours: bool = False) -> str:
    """What to tell of a port that somebody else holds; `ours`: another service of this host."""
    cure = _CONSULS if _CONSUL.search(holder) else _OUR_CURE if ours else _CURE
    return "port %d is taken by %s: %s" % (port, holder, cure)


def bind_address(definition: ServiceDefinition) -> str:
    """Where the service will listen: its SERVICE_BIND, else the host of its health URL."""
    address = definition["launch"]["env"].get("SERVICE_BIND", "")
    host = address or urlsplit(definition["health"]["url"]).hostname or ""
    return "127.0.0.1" if host == "localhost" else host


def collide(ours: str, theirs: str) -> bool:
    """Whether two sockets of one port on these addresses exclude each other."""
    if ours in _EVERYTHING or theirs in _EVERYTHING:
        return True
    if "0.0.0.0" in (ours, theirs):  # noqa: S104 # an address to compare with
        return ":" not in ours + theirs
    return ours == theirs


def listeners(ports: Iterable[int]) -> List[Listener]:
    """All sockets that listen on these ports now."""
    wanted = set(ports)
    if not wanted:
        return []
    if sys.platform.startswith("linux") and os.path.exists("/proc/net/tcp"):
        return _linux(wanted)
    return [listener for port in sorted(wanted) for listener in lsof(port)]


def in_group(pid: int, leader: int) -> bool:
    """Whether a process belongs to the process group that supervisord made for a service."""
    if not pid or not leader:
        return False
    try:
        return pid == leader or os.getpgid(pid) == leader
    except OSError:
        return False


def _whose(listener: Listener) -> str:
    if listener.pid:
        return "pid %d (%s)" % (listener.pid, program_of(listener.pid) or "its name can't be seen")
    return "a process of user %s (its pid can't be seen from here)" % (listener.user or "unknown")


def _linux(wanted: Set[int]) -> List[Listener]:
    found: Dict[str, Listener] = {}
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as stream:
                lines = stream.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == _LISTEN and int(port, 16) in wanted:
                found[fields[9]] = Listener(_decode(address), int(port, 16), 0, _user(int(fields[7])))
    pids = _pids_of_sockets(set(found)) if found else {}
    return [listener._replace(pid=pids.get(inode, 0)) for inode, listener in found.items()]


def _decode(text: str) -> str:
    """An address of /proc/net/tcp: hexadecimal, 32-bit words in the machine's byte order."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    if len(words) == 1:
        return socket.inet_ntop(socket.AF_INET, words[0])
    address = socket.inet_ntop(socket.AF_INET6, b"".join(words))
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def _pids_of_sockets(inodes: Set[str]) -> Dict[str, int]:
    found: Dict[str, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        folder = "/proc/%s/fd" % entry
        try:
            descriptors = os.listdir(folder)
        except OSError:
            continue  # somebody else's, or gone
        for descriptor in descriptors:
            try:
                target = os.readlink(folder + "/" + descriptor)
            except OSError:
                continue
            if target.startswith("socket:[") and target[8:-1] in inodes:
                found.setdefault(target[8:-1], int(entry))
    return found


def lsof(port: int) -> List[Listener]:
    """What lsof says (macOS)."""
    program = next((path for path in ("/usr/sbin/lsof", "/usr/bin/lsof") if os.path.exists(path)), "lsof")
    argv = [program, "-nP", "-iTCP:%d" % port, "-sTCP:LISTEN", "-Fpun"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=20, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_lsof(done.stdout.decode("utf-8", "replace"))


def parse_lsof(text: str) -> List[Listener]:
    """lsof -F: a line a field, `p` starts a process, `n` is an address such as *:8301 or [::1]:8301."""
    found: List[Listener] = []
    pid, user = 0, ""
    for line in text.splitlines():
        kind, value = line[:1], line[1:]
        if kind == "p":
            pid, user = int(value), ""
        elif kind == "u":
            user = _user(int(value))
        elif kind == "n":
            match: Optional["re.Match[str]"] = re.fullmatch(r"\[?([^\]]*?)\]?:(\d+)", value)
            if match:
                found.append(Listener(match.group(1), int(match.group(2)), pid, user))
    return found


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

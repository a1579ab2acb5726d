"""A server's host keys: asking for them, and writing them as OpenSSH's own programs do. Stdlib only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
import subprocess
from dataclasses import dataclass

SECONDS = 10
"""How long a server may take to answer."""
# The best first: what is offered to be pinned. A server with all of them is asked for all in one go.
PREFERENCE = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
_NAMES = {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA"}
_CURVE_BITS = {"ssh-ed25519": 256, "ecdsa-sha2-nistp256": 256, "ecdsa-sha2-nistp384": 384, "ecdsa-sha2-nistp521": 521}


class ScanFailed(Exception):
    """Nobody showed a key; the text says why and, after each line break, what may help."""


@dataclass(frozen=True)
class HostKey:
    """A public host key."""

    kind: str
    """Its type as OpenSSH writes it, for example `ssh-ed25519`."""
    blob: bytes

    @staticmethod
    def parse(text: str) -> HostKey | None:
        """From `TYPE BASE64`, with or without a comment behind it; None when that is no key."""
        words = text.split()
        if len(words) < 2 or words[0] not in PREFERENCE:
            return None
        try:
            blob = base64.b64decode(words[1], validate=True)
            fields = _fields(blob)
        except (binascii.Error, ValueError):
            return None
        whole = len(fields) > 1 and all(fields) and fields[0] == words[0].encode()
        return HostKey(words[0], blob) if whole else None

    @property
    def line(self) -> str:
        """As a stack file's `host_key` and a `.pub` file have it."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def name(self) -> str:
        return _NAMES.get(self.kind, "ECDSA")

    @property
    def bits(self) -> int:
        """Its size, as `ssh-keygen -l` prints it."""
        return _CURVE_BITS.get(self.kind) or int.from_bytes(_fields(self.blob)[-1]).bit_length()

    @property
    def file(self) -> str:
        """Where a server keeps it."""
        return f"/etc/ssh/ssh_host_{self.name.lower()}_key.pub"

    def __str__(self) -> str:
        return f"{self.bits} {self.fingerprint} ({self.name})"


def _fields(blob: bytes) -> list[bytes]:
    """The fields of a key, each with its length in front (RFC 4253); ValueError when one is cut off."""
    found: list[bytes] = []
    while blob:
        end = 4 + int.from_bytes(blob[:4])
        if len(blob) < end:
            raise ValueError("a field is cut off")
        found.append(blob[4:end])
        blob = blob[end:]
    return found


def scan(address: str, port: int) -> list[HostKey]:
    """The keys that whoever answers there shows, the best first. Raises ScanFailed."""
    program = shutil.which("ssh-keyscan")
    if program is None:
        raise ScanFailed("there is no ssh-keyscan on PATH\nDebian/Ubuntu: apt-get install openssh-client")
    command = [program, "-T", str(SECONDS), "-p", str(port), "-t", "ed25519,ecdsa,rsa", "--", address]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ScanFailed(f"{address} port {port} does not answer{_HELP}") from None
    keys = read(done.stdout)
    if not keys:
        raise ScanFailed(f"{address} port {port} shows no host key: {_reason(done.stderr)}{_HELP}")
    return keys


_HELP = "\nis the server up, are host.address and host.ssh_port right, does its firewall let this machine in?"


def read(text: str) -> list[HostKey]:
    """The keys in what ssh-keyscan prints (`HOST TYPE BASE64` a line), the best first, none twice."""
    found: dict[HostKey, None] = {}
    for line in text.splitlines():
        key = None if line.startswith("#") else HostKey.parse(line.partition(" ")[2])
        if key is not None:
            found[key] = None
    return sorted(found, key=lambda key: PREFERENCE.index(key.kind))


def _reason(said: str) -> str:
    """Its last words; lines with `#` only name the server."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("#")]
    return lines[-1] if lines else "it does not answer as an SSH server"

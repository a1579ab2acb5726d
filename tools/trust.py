"""`make trust STACK=…`: shows the host keys of the stack's server and pins the one that the user confirms.

Only the user can know which machine is theirs: a key that the network shows proves nothing until somebody has compared
its fingerprint with the one on the server's own console. So nothing is pinned by default, and a key that replaces
another one has to be typed. Without a terminal, FINGERPRINT=SHA256:… confirms exactly that key.

Exit codes: 0 pinned; 1 not pinned; 2 not confirmed (FINGERPRINT is missing or is none of the server's); 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hostkeys
import stackedit
import stackfiles
from hostkeys import HostKey
from stackfiles import ROOT

NOT_CONFIRMED = 2
_TYPED = 8
"""So many of a fingerprint's last characters have to be typed where a key replaces another one."""


class Stopped(Exception):
    """Nothing was written; the text says why and, after each line break, what may help."""

    def __init__(self, why: str, code: int = 1) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Server:
    """What the stack file says of the server, and the file's text as it was read."""

    stack: str
    path: Path
    text: str
    address: str
    port: int
    pinned: str
    """Its `host_key`; empty when there is none."""

    @property
    def pinned_key(self) -> HostKey | None:
        return HostKey.parse(self.pinned)


def server_of(stack: str) -> Server | None:
    """The stack's server; None when the stack is a laptop's, which needs no key. Raises Stopped."""
    from pydantic import TypeAdapter, ValidationError

    from plan.network import Address, is_loopback
    from plan.semantic import Port

    path = stackfiles.file_of(stack)
    text, said = stackedit.read(path)
    host = stackedit.host_of(said, stackfiles.project_name())
    if host is None or "address" not in host:
        raise Stopped(f"{path.name} names no host.address: there is nobody to ask")
    try:
        address = TypeAdapter[str](Address).validate_python(host["address"])
        port = TypeAdapter[int](Port).validate_python(host.get("ssh_port") or 22)
    except ValidationError as bad:
        raise Stopped(f"{path.name}: host: {bad.errors()[0]['msg']}") from None
    if is_loopback(address):
        return None
    return Server(stack, path, text, address, port, str(host.get(stackedit.NAME) or ""))


def show(server: Server, keys: list[HostKey]) -> None:
    print(f"{server.address} port {server.port} shows these host keys, the best first:\n")
    for number, key in enumerate(keys, 1):
        print(f"  {number}  {key}")
    print(
        "\nWhoever sits between here and there could show any key. Compare with the server itself: on its console (the"
        "\nprovider's web page has one; not over this network) run, and look for the same SHA256:…\n"
        f"\n  ssh-keygen -lf {keys[0].file}\n",
        flush=True,
    )


def warn(server: Server) -> None:
    """Another key than the pinned one: the one moment at which pinning is worth anything."""
    was = server.pinned_key
    print(
        "*** WARNING: THIS IS NOT THE KEY THAT IS PINNED ***\n"
        f"pinned in {server.path.name}: {was}\n"
        "Either the machine was installed anew (or its keys were made anew), or somebody is in between and reads\n"
        "everything, passwords included. Go on only if you know which.\n",
        flush=True,
    )


def given(keys: list[HostKey], fingerprint: str) -> HostKey:
    """The key that FINGERPRINT confirms."""
    for key in keys:
        if key.fingerprint == fingerprint:
            return key
    raise Stopped(f"FINGERPRINT={fingerprint} is none of the keys that the server shows", NOT_CONFIRMED)


def ask(server: Server, keys: list[HostKey], changed: bool) -> HostKey:
    """The key that the user confirms on the terminal. Raises Stopped."""
    if not sys.stdin.isatty():
        raise Stopped(
            "there is no terminal to ask on\n"
            f"once you have compared it: make trust STACK={server.stack} FINGERPRINT={keys[0].fingerprint}",
            NOT_CONFIRMED,
        )
    if changed:
        question = f"To pin a new key, type the last {_TYPED} characters of its fingerprint: "
    else:
        others = f", 2-{len(keys)} another one" if len(keys) > 2 else ", 2 the other one" if len(keys) > 1 else ""
        question = f"Is key 1 the server's own? yes pins it{others}; anything else pins none: "
    try:
        answer = input(question).strip()
    except EOFError:
        print()
        answer = ""
    if not answer:
        raise Stopped("no answer; nothing was pinned")
    chosen = _typed(keys, answer) if changed else _numbered(keys, answer)
    if chosen is None:
        why = "that is the end of no fingerprint above" if changed else f"{json.dumps(answer)} confirms none of them"
        raise Stopped(f"{why}; nothing was pinned")
    return chosen


def _typed(keys: list[HostKey], answer: str) -> HostKey | None:
    ends = {key.fingerprint[-_TYPED:]: key for key in keys} | {key.fingerprint: key for key in keys}
    return ends.get(answer)


def _numbered(keys: list[HostKey], answer: str) -> HostKey | None:
    if answer.lower() in ("y", "yes"):
        return keys[0]
    return {str(number): key for number, key in enumerate(keys, 1)}.get(answer)


def pin(server: Server, key: HostKey) -> None:
    try:
        stackedit.write(server.path, server.text, stackfiles.project_name(), key.line)
    except stackedit.Changed:
        raise Stopped(f"{server.path.name} was changed by somebody meanwhile: run `make trust` again") from None
    except stackedit.Unsure:
        raise Stopped(
            f"{server.path.name} is written in a way that is not edited here. Put this line in by hand, under "
            f"{stackfiles.project_name()}:host:\n{stackedit.NAME}: {key.line}"
        ) from None
    except OSError as bad:
        raise Stopped(f"{server.path} can't be written: {bad.strerror}") from None
    print(f"pinned in {server.path.name}: {key}")


def trust(stack: str, fingerprint: str) -> None:
    """Raises Stopped, with nothing written, where no key was confirmed."""
    server = server_of(stack)
    if server is None:
        print(f"{stack} is this machine: a laptop needs none")
        return
    try:
        keys = hostkeys.scan(server.address, server.port)
    except hostkeys.ScanFailed as failed:
        raise Stopped(str(failed)) from None
    was = server.pinned_key
    if was in keys and fingerprint in ("", was.fingerprint):
        print(f"already pinned: {was}")
        return
    show(server, keys)
    changed = was is not None and was not in keys
    if changed:
        warn(server)
    elif server.pinned and was is None:
        print(f"what stands in {server.path.name} now is no key; it would be replaced\n", flush=True)
    pin(server, given(keys, fingerprint) if fingerprint else ask(server, keys, changed))


def main(environ: Any = os.environ) -> int:
    stack = environ.get("STACK", "")
    if stack not in stackfiles.names():
        print(
            f"error: there is no stack {json.dumps(stack)}; there are: {', '.join(stackfiles.names())}", file=sys.stderr
        )
        return 1
    sys.path.insert(0, str(ROOT))
    from standalone.errors import UserError

    try:
        trust(stack, environ.get("FINGERPRINT", "").strip())
    except UserError as bad:
        print(f"error: {bad}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        why, *cures = str(stopped).splitlines()
        print("\n".join([f"error: {why}", *(f"  {cure}" for cure in cures)]), file=sys.stderr)
        return stopped.code
    except KeyboardInterrupt:
        print("\nstopped; nothing was pinned", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

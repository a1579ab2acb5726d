"""Runs a command on another machine over SSH, with a pinned host key and a key from the agent.

Every command has a connection of its own, as with the CLI's plugin. sshd drops connections when too many (10 by
default) are not logged in yet, so only a few log in at the same time, and a dropped one tries again after a pause.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Sequence
from typing import Any, cast

import asyncssh

from standalone.control import Control
from standalone.errors import CommandFailed, Killed
from standalone.execute_local import failure
from standalone.jobs import Job, OnLine, Output
from standalone.values import Props

LOGINS_AT_ONCE = 6
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
_logins = threading.BoundedSemaphore(LOGINS_AT_ONCE)


def run_remote(work: Job, control: Control, on_line: OnLine) -> Output:
    """Run it and wait. Raises CommandFailed when the host can't be reached or it doesn't exit with 0."""
    return asyncio.run(_run_killable(work, control, on_line))


async def _run_killable(work: Job, control: Control, on_line: OnLine) -> Output:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(_run(work, on_line))

    def kill() -> None:
        loop.call_soon_threadsafe(task.cancel)

    with control.under_way(kill):
        try:
            return await task
        except asyncio.CancelledError:
            raise Killed("ended by Ctrl-C") from None


async def _run(work: Job, on_line: OnLine) -> Output:
    target = work.connection or {}
    connection = await _connect(target)
    try:
        process = await connection.create_process(
            work.command, env=work.environment or None, encoding="utf-8", errors="replace"
        )
        if work.stdin:
            process.stdin.write(work.stdin)
        process.stdin.write_eof()
        out, err = await asyncio.gather(
            _collect(process.stdout, "stdout", on_line), _collect(process.stderr, "stderr", on_line)
        )
        done = await process.wait(check=False)
    except (asyncssh.Error, OSError) as bad:
        raise CommandFailed(f"the connection to {_where(target)} broke: {bad}") from None
    finally:
        connection.close()
    if done.exit_status != 0:
        how = f"ended by {done.exit_signal[0]}" if done.exit_signal else f"exit status {done.exit_status}"
        raise CommandFailed(failure(f"{how} on {_where(target)}", out, err))
    return Output(out.removesuffix("\n"), err.removesuffix("\n"))


async def _collect(stream: Any, name: str, on_line: OnLine) -> str:
    parts: list[str] = []
    async for line in stream:
        parts.append(cast(str, line))
        on_line(name, cast(str, line).rstrip("\n"))
    return "".join(parts)


def _where(target: Props) -> str:
    return f"{target.get('user')}@{target.get('host')}:{target.get('port')}"


def _number(target: Props, key: str) -> int:
    value = target.get(key)
    return int(value) if isinstance(value, (int, float)) else 0


class _Keys(asyncssh.SSHClient):
    """Offers the connection's own key, then the agent's; never what lies in ~/.ssh."""

    def __init__(self, keys: Sequence[Any]) -> None:
        self._keys = list(keys)

    def public_key_auth_requested(self) -> Any:
        """The next key to try, None when there are no more."""
        return self._keys.pop(0) if self._keys else None


async def _connect(target: Props) -> asyncssh.SSHClientConnection:
    """Log in, trying again as often as `dialErrorLimit` says (-1: for ever)."""
    options = _options(target)
    keys = _own_keys(target)
    agent = await _agent(target, bool(keys) or bool(target.get("password")))
    try:
        if agent is not None:
            keys += list(await agent.get_keys())
        return await _log_in_patiently(target, {**options, "client_factory": lambda: _Keys(keys)}, len(keys))
    except ValueError as bad:
        raise CommandFailed(f"the ssh-agent doesn't answer: {bad}") from None
    finally:
        if agent is not None:
            agent.close()


async def _agent(target: Props, optional: bool) -> asyncssh.SSHAgentClient | None:
    path = target.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK")
    if not path:
        if optional:
            return None
        raise CommandFailed(
            f"no way to log in to {_where(target)}: SSH_AUTH_SOCK is not set (start an ssh-agent and ssh-add your key)"
        )
    try:
        return await asyncssh.connect_agent(str(path))
    except OSError as bad:
        raise CommandFailed(f"no ssh-agent answers at {path} ({bad.strerror}): eval $(ssh-agent); ssh-add") from None


async def _log_in_patiently(target: Props, options: dict[str, Any], keys: int) -> asyncssh.SSHClientConnection:
    limit, tried, pause = _number(target, "dialErrorLimit"), 0, FIRST_PAUSE_SECONDS
    while True:
        try:
            return await _login(target, options)
        except asyncssh.HostKeyNotVerifiable:
            raise CommandFailed(
                f"{_where(target)} shows another host key than the pinned one: is it the right machine? "
                "If it was re-installed, pin its new key in the stack file"
            ) from None
        except asyncssh.PermissionDenied as bad:
            raise CommandFailed(
                f"{_where(target)} refuses the login ({bad.reason}); "
                f"offered: {keys} key{'s' * (keys != 1)} (ssh-add -l shows the agent's)"
            ) from None
        except asyncssh.KeyExchangeFailed as bad:
            raise CommandFailed(f"{_where(target)} has no host key of the pinned kind ({bad.reason})") from None
        except (asyncssh.Error, OSError, TimeoutError) as bad:
            tried += 1
            if limit >= 0 and tried > limit:
                reason = str(bad) or type(bad).__name__
                raise CommandFailed(
                    f"can't reach {_where(target)} after {tried} attempts: {reason} (gone for good? `make abandon`)"
                ) from None
        # A pause of a random length: commands that were dropped together must not come back together.
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def _login(target: Props, options: dict[str, Any]) -> asyncssh.SSHClientConnection:
    while not _logins.acquire(blocking=False):  # noqa: ASYNC110 (the others run on loops of their own)
        await asyncio.sleep(0.02)
    try:
        return await asyncssh.connect(**options)
    finally:
        _logins.release()


def _options(target: Props) -> dict[str, Any]:
    host_key, timeout = target.get("hostKey"), _number(target, "perDialTimeout")
    if not host_key:
        raise CommandFailed(
            f"no host key is pinned for {_where(target)}: without one any machine could pose as it. Put the line of "
            f"`ssh-keyscan -t ed25519 -p {target.get('port')} {target.get('host')}` into the stack file, "
            "after comparing it with the host's own /etc/ssh/ssh_host_ed25519_key.pub"
        )
    pinned = _pinned(str(host_key))
    return {
        "host": str(target.get("host")),
        "port": _number(target, "port"),
        "username": str(target.get("user")),
        "known_hosts": ([pinned], [], []),
        "server_host_key_algs": _algorithms(pinned),
        "client_keys": None,  # they come from _Keys
        "password": target.get("password"),
        "config": None,  # the user's ~/.ssh/config must not change what a stack does
        "login_timeout": timeout or None,
        "connect_timeout": timeout or None,
        "keepalive_interval": 15,
        "keepalive_count_max": 8,
    }


def _pinned(text: str) -> asyncssh.SSHKey:
    """A public key from an authorized_keys line (what pulumi-command takes) or a known_hosts line."""
    words = text.split()
    start = next((i for i, w in enumerate(words) if w.startswith(("ssh-", "ecdsa-", "sk-")) and i + 1 < len(words)), 0)
    try:
        return asyncssh.import_public_key(" ".join(words[start : start + 2]))
    except (asyncssh.KeyImportError, ValueError) as bad:
        raise CommandFailed(f"the pinned host key can't be read: {bad}") from None


def _algorithms(key: asyncssh.SSHKey) -> list[str]:
    name = key.get_algorithm()
    return ["rsa-sha2-512", "rsa-sha2-256"] if name == "ssh-rsa" else [name]


def _own_keys(target: Props) -> list[asyncssh.SSHKey]:
    text, passphrase = target.get("privateKey"), target.get("privateKeyPassword")
    if not text:
        return []
    try:
        return [asyncssh.import_private_key(str(text), str(passphrase) if passphrase else None)]
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as bad:
        raise CommandFailed(f"connection.privateKey can't be read: {bad}") from None

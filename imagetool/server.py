"""The other side: `hostctl receive-image` on a server, over one ssh connection with exactly the pinned host key."""

from __future__ import annotations

import gzip
import io
import json
import shlex
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, cast

from imagetool.errors import DeliveryError

OVER_SSH = Path(__file__).resolve().parents[1] / "components" / "scripts" / "over-ssh.sh"
_FRAME = 256 * 1024
_NO_CONNECTION = 255
_END_SECONDS = 30

Message = dict[str, Any]


class Server:
    """One conversation; what the server says on stderr is this program's."""

    def __init__(self, host: Message, words: list[str]) -> None:
        text = shlex.join([str(host["hostctl"]), "receive-image", *words])
        server = [str(host["address"]), str(host["port"]), str(host["user"]), str(host["host_key"])]
        self._where = str(host["address"])
        # A session of its own: Ctrl-C is ours to handle, and the server is told by the end of its input.
        self._ssh = subprocess.Popen(
            ["sh", str(OVER_SSH), *server, text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._to = cast("BinaryIO", self._ssh.stdin)
        self._from = cast("BinaryIO", self._ssh.stdout)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._to.close()
        try:
            self._ssh.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()
        self._from.close()

    def say(self, order: Message) -> None:
        """An order."""
        self._write(json.dumps(order).encode() + b"\n")

    def hear(self) -> Message:
        """What it says next; DeliveryError when it ended instead."""
        line = self._from.readline()
        if not line.endswith(b"\n"):
            raise DeliveryError(self._ended())
        try:
            return cast("Message", json.loads(line))
        except ValueError:
            raise DeliveryError(f"what answers on {self._where} is not hostctl: {line[:100]!r}") from None

    def send(self, write: Callable[[IO[bytes]], None]) -> int:
        """What `write` writes, compressed and in frames; gives the bytes that went out."""
        frames = _Frames(self._write)
        buffered = io.BufferedWriter(frames, _FRAME)
        try:
            # Fast, as lines between servers are; the same bytes for the same image.
            with gzip.GzipFile(fileobj=buffered, mode="wb", compresslevel=1, mtime=0) as packed:
                write(cast("IO[bytes]", packed))
            buffered.flush()
        except BaseException:
            frames.broken = True
            raise
        self._write(bytes(4))
        return frames.sent

    def _write(self, data: bytes) -> None:
        try:
            self._to.write(data)
            self._to.flush()
        except OSError:
            raise DeliveryError(self._ended()) from None

    def _ended(self) -> str:
        try:
            code = self._ssh.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            code = _NO_CONNECTION
        if code == _NO_CONNECTION:
            return f"the connection to {self._where} was cut or never made; the server has what it had: run it again"
        return f"hostctl on {self._where} refused (exit code {code}); it says above why"


class _Frames(io.RawIOBase):
    """Each piece with its length in front."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = write
        self.sent = 0
        self.broken = False
        """Whether nothing goes out any more: what is still in a buffer is lost with the connection."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        if piece and not self.broken:  # an empty frame is the end
            self._send(len(piece).to_bytes(4, "big") + piece)
            self.sent += len(piece)
        return len(piece)

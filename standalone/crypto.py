"""Secrets as the Pulumi CLI's passphrase provider writes them.

A salt line is `v1:<base64 salt>:v1:<nonce>:<ciphertext of "pulumi">`, a value `v1:<base64 nonce>:<base64 ciphertext>`
(AES-256-GCM); the key is PBKDF2-HMAC-SHA256 of the passphrase with 1,000,000 rounds, some 0.3 s, so it is computed at
most once a run, on a thread beside the imports, and only when there is a secret.
"""

from __future__ import annotations

import base64
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from standalone.errors import UserError, WrongPassphrase

ROUNDS = 1_000_000
NO_PASSPHRASE = (
    "there are secrets, and no passphrase to open them: set PULUMI_CONFIG_PASSPHRASE (or PULUMI_CONFIG_PASSPHRASE_FILE)"
)


class Cipher(Protocol):
    """What the rest needs of AES-GCM (cryptography is imported late: 40 ms)."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


def derive_key(passphrase: str, salt: bytes) -> bytes:
    """The key of a passphrase: 32 bytes."""
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, ROUNDS, 32)


class Crypter:
    """Encrypts and decrypts values under one salt line."""

    def __init__(self, key: bytes, salt_line: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.salt_line = salt_line
        self._cipher: Cipher = AESGCM(key)

    def encrypt(self, text: str) -> str:
        """A new `v1:nonce:ciphertext`; never twice the same."""
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(nonce, text.encode(), None)
        return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, sealed: str) -> str:
        """The text of a `v1:nonce:ciphertext`. Raises WrongPassphrase when the key doesn't fit."""
        from cryptography.exceptions import InvalidTag

        version, _, rest = sealed.partition(":")
        nonce, _, body = rest.partition(":")
        if version != "v1" or not body:
            raise UserError("an encrypted value is not of the form v1:<nonce>:<ciphertext>")
        try:
            return self._cipher.decrypt(base64.b64decode(nonce), base64.b64decode(body), None).decode()
        except InvalidTag:
            raise WrongPassphrase("a secret value can't be opened with this passphrase") from None
        except ValueError as bad:
            raise UserError(f"an encrypted value is damaged: {bad}") from None


def _split_salt(salt_line: str) -> tuple[bytes, str]:
    version, _, rest = salt_line.partition(":")
    salt, _, check = rest.partition(":")
    try:
        raw = base64.b64decode(salt, validate=True)
    except ValueError:
        raw = b""
    if version != "v1" or not raw or not check:
        raise UserError("encryptionsalt is not of the form v1:<salt>:v1:<nonce>:<ciphertext>")
    return raw, check


def passphrase_from_environment() -> str | None:
    """The passphrase, or None when none is set. An empty one counts, as it does for the CLI."""
    if "PULUMI_CONFIG_PASSPHRASE" in os.environ:
        return os.environ["PULUMI_CONFIG_PASSPHRASE"]
    path = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text().strip()
    except OSError as bad:
        raise UserError(f"PULUMI_CONFIG_PASSPHRASE_FILE: can't read {path}: {bad.strerror}") from None


class Keyring:
    """The run's passphrase and the crypters made from it, one per salt line."""

    def __init__(self, passphrase: str | None) -> None:
        self.passphrase = passphrase
        self._pool = ThreadPoolExecutor(1, "kdf")
        self._keys: dict[str, Future[Crypter]] = {}

    @property
    def open(self) -> bool:
        """Whether there is a passphrase at all."""
        return self.passphrase is not None

    def prefetch(self, salt_line: str) -> None:
        """Begin to derive the key; hashlib works without the interpreter's lock, so imports go on meanwhile."""
        if self.passphrase is not None and salt_line not in self._keys:
            self._keys[salt_line] = self._pool.submit(self._make, self.passphrase, salt_line)

    def crypter(self, salt_line: str) -> Crypter:
        """The crypter of a salt line. Raises UserError without a passphrase, WrongPassphrase with another one."""
        if self.passphrase is None:
            raise UserError(NO_PASSPHRASE)
        self.prefetch(salt_line)
        return self._keys[salt_line].result()

    def new_salt(self) -> Crypter:
        """A crypter with a fresh salt line, for a stack that stores its first secret."""
        if self.passphrase is None:
            raise UserError(NO_PASSPHRASE)
        salt = os.urandom(8)
        key = derive_key(self.passphrase, salt)
        line = f"v1:{base64.b64encode(salt).decode()}:{Crypter(key, '').encrypt('pulumi')}"
        done: Future[Crypter] = Future()
        done.set_result(Crypter(key, line))
        self._keys[line] = done
        return done.result()

    @staticmethod
    def _make(passphrase: str, salt_line: str) -> Crypter:
        salt, check = _split_salt(salt_line)
        crypter = Crypter(derive_key(passphrase, salt), salt_line)
        try:
            right = crypter.decrypt(check) == "pulumi"
        except WrongPassphrase:
            right = False
        if not right:
            raise WrongPassphrase(
                "wrong passphrase: PULUMI_CONFIG_PASSPHRASE is not the one that this stack's secrets were made with"
            )
        return crypter

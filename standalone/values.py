"""Property values as the engine sees them: JSON values, secrets, and values that aren't known yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias, cast

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"
ASSET_SIGNATURES = ("c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7")
UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
MASK = "[secret]"
# Shorter secrets than this can't be blacked out of free text without blacking out half of it.
SHORTEST_REDACTED = 4


class Unknown:
    """A value that only the execution of a resource will tell."""

    def __repr__(self) -> str:
        return "[unknown]"


UNKNOWN = Unknown()


class Locked:
    """The inside of a secret whose passphrase we don't have."""

    def __repr__(self) -> str:
        return "[locked]"


LOCKED = Locked()


@dataclass(eq=False)
class Secret:
    """A value that is never shown and never stored in clear.

    `ciphertext` (and the `salt` it was made with) is remembered so that an unchanged secret keeps its stored form:
    encrypting again would give other bytes, and a run that changes nothing would rewrite the state.
    """

    value: Value
    ciphertext: str | None = None
    salt: str | None = None

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


Value: TypeAlias = "bool | int | float | str | Secret | Unknown | Locked | list[Value] | dict[str, Value] | None"
Props: TypeAlias = "dict[str, Value]"


def plain(value: Value) -> Value:
    """The value with every secret opened, for those who must use it (a command, a comparison)."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def masked(value: Value) -> object:
    """The value as it may be shown: secrets and unknowns become words."""
    if isinstance(value, (Secret, Locked)):
        return MASK
    if isinstance(value, Unknown):
        return "[unknown]"
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    return value


def _walk(value: Value) -> Iterator[Value]:
    yield value
    if isinstance(value, Secret):
        yield from _walk(value.value)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)


def has_unknown(value: Value) -> bool:
    """Whether something in it isn't known yet."""
    return any(isinstance(item, Unknown) for item in _walk(value))


def has_secret(value: Value) -> bool:
    """Whether something in it is secret."""
    return any(isinstance(item, Secret) for item in _walk(value))


def has_locked(value: Value) -> bool:
    """Whether it holds a secret that we can't open."""
    return any(isinstance(item, Locked) for item in _walk(value))


def secret_texts(value: Value) -> Iterator[str]:
    """Every text inside the secrets of a value that must not appear in any output."""
    if isinstance(value, Secret):
        inside = plain(value.value)
        yield from _texts(str(inside) if isinstance(inside, (int, float)) else inside)
    elif isinstance(value, list):
        for item in value:
            yield from secret_texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from secret_texts(item)


def _texts(value: Value) -> Iterator[str]:
    # Numbers inside a secret document are left out: blacking out every `8301` would hide more than a secret.
    if isinstance(value, str):
        yield value
        if value[:1] in "{[":
            with suppress(ValueError):  # a secret JSON document: the passwords inside it are secrets of their own
                yield from _texts(cast(Value, json.loads(value)))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


@dataclass
class Redactor:
    """Blacks out every secret that this run has seen, in whatever text is about to be shown."""

    known: set[str] = field(default_factory=set[str])

    def learn(self, value: Value) -> None:
        """Remember the secrets inside a value."""
        self.learn_texts(secret_texts(value))

    def learn_texts(self, texts: Iterator[str]) -> None:
        """Remember texts, also as they look inside JSON and line by line."""
        for text in texts:
            for form in (text, json.dumps(text)[1:-1], *text.splitlines()):
                if len(form.strip()) >= SHORTEST_REDACTED:
                    self.known.add(form.strip())

    def __call__(self, text: str) -> str:
        for secret in sorted(self.known, key=len, reverse=True):
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def leaks(self, text: str) -> bool:
        """Whether a text holds a known secret."""
        return any(secret in text for secret in self.known)

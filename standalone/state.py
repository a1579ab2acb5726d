"""The state of a stack: a Pulumi v3 deployment in `.standalone/<stack>.json`.

It is written whole (temporary file, fsync, rename) before and after every step, so a kill at any moment leaves either
the state before or the state after, and the operation that was under way in `pending_operations`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from standalone.crypto import Crypter, Keyring
from standalone.errors import UserError
from standalone.values import LOCKED, SECRET_SIGNATURE, SIGNATURE, UNKNOWN_TEXT, Props, Secret, Unknown, Value

FOLDER = ".standalone"
ENGINE_VERSION = "v3.259.0"  # the engine whose deployment form this is
_PLAIN_FIELDS = {  # deployment key -> attribute
    "urn": "urn", "custom": "custom", "delete": "delete", "id": "id", "type": "type", "parent": "parent",
    "protect": "protect", "dependencies": "dependencies", "initErrors": "init_errors", "provider": "provider",
    "propertyDependencies": "property_dependencies", "pendingReplacement": "pending_replacement",
    "additionalSecretOutputs": "secret_outputs", "retainOnDelete": "retain_on_delete",
    "created": "created", "modified": "modified", "ignoreChanges": "ignore_changes",
    "replaceOnChanges": "replace_on_changes",
}  # fmt: skip
_ALWAYS = {"urn", "custom", "type"}


def now() -> str:
    """The time as deployments write it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _strings() -> list[str]:
    return []


@dataclass
class Resource:
    """One resource of a deployment."""

    urn: str
    type: str
    custom: bool
    id: str = ""
    inputs: Props = field(default_factory=dict[str, Value])
    outputs: Props = field(default_factory=dict[str, Value])
    parent: str = ""
    provider: str = ""
    dependencies: list[str] = field(default_factory=_strings)
    property_dependencies: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    protect: bool = False
    retain_on_delete: bool = False
    delete: bool = False
    pending_replacement: bool = False
    init_errors: list[str] = field(default_factory=_strings)
    secret_outputs: list[str] = field(default_factory=_strings)
    ignore_changes: list[str] = field(default_factory=_strings)
    replace_on_changes: list[str] = field(default_factory=_strings)
    created: str = ""
    modified: str = ""
    extra: dict[str, Any] = field(default_factory=lambda: dict[str, Any]())  # what the CLI wrote and we don't use

    @property
    def name(self) -> str:
        """The logical name."""
        return self.urn.split("::", 3)[3]

    def needs(self) -> set[str]:
        """The URNs that must exist as long as this one does."""
        urns = {
            self.parent,
            *self.dependencies,
            *(u for deps in self.property_dependencies.values() for u in deps),
        }
        if self.provider:
            urns.add(self.provider.rsplit("::", 1)[0])
        return urns - {"", self.urn}

    def rename(self, old: str, new: str) -> None:
        """Follow another resource's new URN."""
        self.urn = new if self.urn == old else self.urn
        self.parent = new if self.parent == old else self.parent
        self.dependencies = [new if u == old else u for u in self.dependencies]
        for key, deps in self.property_dependencies.items():
            self.property_dependencies[key] = [new if u == old else u for u in deps]


@dataclass
class Pending:
    """An operation that was begun: `creating`, `updating` or `deleting`."""

    resource: Resource
    type: str


class Codec:
    """Values <-> deployment JSON, secrets encrypted."""

    def __init__(self, keyring: Keyring, crypter: Crypter | None) -> None:
        self.keyring, self.crypter = keyring, crypter

    def decode(self, raw: Any, salt: str | None, inside: bool = False) -> Value:
        """A value of a deployment; its secrets stay locked when there is no passphrase.

        `inside` a secret, further secrets are not encrypted again, although the CLI calls their text `ciphertext`.
        """
        if isinstance(raw, list):
            return [self.decode(item, salt, inside) for item in cast("list[Any]", raw)]
        if not isinstance(raw, dict):
            return cast(Value, raw)
        items = cast("dict[str, Any]", raw)
        if items.get(SIGNATURE) != SECRET_SIGNATURE:
            return {key: self.decode(item, salt, inside) for key, item in items.items()}
        if inside or "ciphertext" not in items:
            return Secret(self.decode(json.loads(items.get("plaintext") or items["ciphertext"]), salt, inside))
        sealed = str(items["ciphertext"])
        if not self.keyring.open:
            return Secret(LOCKED, sealed, salt)
        if not salt:
            raise UserError("the state has secrets and no salt")
        text = self.keyring.crypter(salt).decrypt(sealed)
        return Secret(self.decode(json.loads(text), salt, inside=True), sealed, salt)

    def encode(self, value: Value) -> Any:
        """A value for a deployment."""
        if isinstance(value, Secret):
            return {SIGNATURE: SECRET_SIGNATURE, "ciphertext": self._seal(value)}
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, dict):
            return {key: self.encode(item) for key, item in value.items()}
        return UNKNOWN_TEXT if isinstance(value, Unknown) else value

    def _seal(self, secret: Secret) -> str:
        salt = self.crypter.salt_line if self.crypter else None
        if secret.ciphertext is None or (salt is not None and secret.salt != salt):
            if self.crypter is None:
                raise UserError("a secret must be stored and there is no passphrase")
            secret.ciphertext = self.crypter.encrypt(json.dumps(_nested(secret.value), separators=(",", ":")))
            secret.salt = salt
        return secret.ciphertext


def _nested(value: Value) -> Any:
    """A secret's inside: secrets within it need no encryption of their own."""
    if isinstance(value, Secret):
        return {
            SIGNATURE: SECRET_SIGNATURE,
            "ciphertext": json.dumps(_nested(value.value), separators=(",", ":")),
        }
    if isinstance(value, list):
        return [_nested(item) for item in value]
    if isinstance(value, dict):
        return {key: _nested(item) for key, item in value.items()}
    return UNKNOWN_TEXT if isinstance(value, Unknown) else value


def decode_resource(raw: dict[str, Any], codec: Codec, salt: str | None) -> Resource:
    """A resource of a deployment."""
    known = {attribute: raw[key] for key, attribute in _PLAIN_FIELDS.items() if raw.get(key) is not None}
    resource = Resource(**known)
    resource.inputs = cast("Props", codec.decode(raw.get("inputs") or {}, salt))
    resource.outputs = cast("Props", codec.decode(raw.get("outputs") or {}, salt))
    resource.extra = {k: v for k, v in raw.items() if k not in _PLAIN_FIELDS and k not in ("inputs", "outputs")}
    return resource


def encode_resource(resource: Resource, codec: Codec) -> dict[str, Any]:
    """A resource for a deployment."""
    raw = {key: getattr(resource, attribute) for key, attribute in _PLAIN_FIELDS.items()}
    raw = {key: value for key, value in raw.items() if value or key in _ALWAYS}
    for key, props in (("inputs", resource.inputs), ("outputs", resource.outputs)):
        if props:
            raw[key] = codec.encode(props)
    return {**raw, **resource.extra}


def in_order(resources: list[Resource]) -> list[Resource]:
    """Dependencies before dependents, as a deployment must be; replaced ones last; else as they came."""
    by_urn = {r.urn: r for r in resources if not r.delete}
    begun: set[str] = set()
    ordered: list[Resource] = []
    for first in by_urn.values():
        # Depth first, without recursion: a chain may be longer than Python's stack is deep.
        stack = [(first, iter(sorted(first.needs())))] if first.urn not in begun else []
        begun.add(first.urn)
        while stack:
            resource, needs = stack[-1]
            following = next((by_urn[urn] for urn in needs if urn in by_urn and urn not in begun), None)
            if following is None:
                ordered.append(resource)
                stack.pop()
            else:
                begun.add(following.urn)
                stack.append((following, iter(sorted(following.needs()))))
    return ordered + [r for r in resources if r.delete]


class StateFile:
    """The state in memory and on disk. Every method may be called from any thread."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        self.path = path
        self.resources: list[Resource] = []
        self.pending: list[Pending] = []
        self.salt: str | None = None
        self.lock = threading.RLock()
        self._codec = Codec(keyring, None)
        self._version = 0  # what is in memory
        self._written = 0  # what is on disk
        self._written_text = ""
        self._io = threading.Lock()

    @staticmethod
    def path_of(folder: Path, stack: str) -> Path:
        """Where a stack's state lives."""
        return folder / FOLDER / f"{stack}.json"

    def load(self) -> None:
        """Read the file, if there is one. Raises UserError when it is damaged, WrongPassphrase on a wrong one."""
        deployment = read_deployment(self.path)
        if deployment is None:
            return
        try:
            self.adopt(deployment)
        except DAMAGE as bad:
            raise _damaged(self.path, bad) from None
        self._written_text = self._stable(deployment)

    def adopt(self, deployment: dict[str, Any]) -> None:
        """Take over a deployment (ours, or one that the CLI exported)."""
        self.salt = salt_of(deployment)
        resources = cast("list[dict[str, Any]]", deployment.get("resources") or [])
        self.resources = [decode_resource(r, self._codec, self.salt) for r in resources]
        operations = cast("list[dict[str, Any]]", deployment.get("pending_operations") or [])
        self.pending = [Pending(decode_resource(o["resource"], self._codec, self.salt), o["type"]) for o in operations]

    def encrypt_with(self, crypter: Crypter | None) -> None:
        """From now on, store secrets with this crypter."""
        self._codec.crypter = crypter

    @property
    def can_store_secrets(self) -> bool:
        """Whether a new secret could be stored."""
        return self._codec.crypter is not None

    def live(self) -> dict[str, Resource]:
        """The resources by URN, without those that only wait to be deleted after their replacement."""
        with self.lock:
            return {r.urn: r for r in self.resources if not r.delete}

    def deployment(self) -> dict[str, Any]:
        """The whole as `pulumi stack import` takes it."""
        with self.lock:
            magic = hashlib.sha256(ENGINE_VERSION.encode()).hexdigest()
            body: dict[str, Any] = {"manifest": {"time": now(), "magic": magic, "version": ENGINE_VERSION}}
            resources = [encode_resource(r, self._codec) for r in in_order(self.resources)]
            pending = [{"resource": encode_resource(p.resource, self._codec), "type": p.type} for p in self.pending]
            salt = self._codec.crypter.salt_line if self._codec.crypter else self.salt
            if salt:
                body["secrets_providers"] = {"type": "passphrase", "state": {"salt": salt}}
            body["resources"] = resources
            if pending:
                body["pending_operations"] = pending
            body["metadata"] = {}
            return body

    @staticmethod
    def _stable(deployment: dict[str, Any]) -> str:
        return json.dumps({k: v for k, v in deployment.items() if k != "manifest"}, sort_keys=True)

    def changed(self) -> None:
        """Say that the memory differs from the disk now (call it with `lock` held)."""
        self._version += 1

    def save(self) -> None:
        """Return when everything said so far is safe on disk. Threads that wait together share one write."""
        wanted = self._version
        with self._io:
            if self._written >= wanted:
                return
            with self.lock:
                version, deployment = self._version, self.deployment()
            stable = self._stable(deployment)
            if stable != self._written_text:
                write_atomically(self.path, json.dumps({"version": 3, "deployment": deployment}, indent=1) + "\n")
                self._written_text = stable
            self._written = version


DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading raises where a document isn't of the form that was expected."""


def read_deployment(path: Path) -> dict[str, Any] | None:
    """The deployment in a state file of ours; None when there is no file. Raises UserError when it is damaged."""
    try:
        deployment: Any = json.loads(path.read_bytes())["deployment"]
        check_form(deployment)
    except FileNotFoundError:
        return None
    except OSError as bad:
        raise UserError(f"can't read {path}: {bad.strerror}") from None
    except DAMAGE as bad:
        raise _damaged(path, bad) from None
    return deployment


def check_form(deployment: Any) -> None:
    """Raise one of DAMAGE unless this has a deployment's form, as far as it is looked at before it is adopted."""
    operations = cast("list[dict[str, Any]]", deployment.get("pending_operations") or [])
    resources = cast("list[dict[str, Any]]", deployment.get("resources") or [])
    for raw in [*resources, *(operation["resource"] for operation in operations)]:
        if not isinstance(raw["type"], str) or raw["urn"].count("::") < 3:
            raise ValueError("a resource without a type or a URN")


def _damaged(path: Path, bad: Exception) -> UserError:
    return UserError(f"{path} is not a deployment of ours ({bad}); put a backup in its place")


def salt_of(deployment: dict[str, Any]) -> str | None:
    """The salt line of a deployment's secrets, if it has one."""
    provider = cast("dict[str, Any]", deployment.get("secrets_providers") or {})
    if provider and provider.get("type") != "passphrase":
        raise UserError(f"the state's secrets are kept by {provider.get('type')!r}; only passphrase can be read here")
    return cast("dict[str, str]", provider.get("state") or {}).get("salt")


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a kill leaves the old one or the new one, never a part; only the owner may read it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

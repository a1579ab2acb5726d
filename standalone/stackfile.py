"""Pulumi.yaml and Pulumi.<stack>.yaml, read as the CLI reads them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from standalone.crypto import Keyring
from standalone.errors import UserError
from standalone.values import MASK
from standalone.yamlfile import read_yaml


def _mapping(data: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value: object = data.get(key) or {}
    if not isinstance(value, dict):
        raise UserError(f"{path.name}: {key} is not a mapping")
    return cast("dict[str, Any]", value)


@dataclass(frozen=True)
class Project:
    """What Pulumi.yaml says, as far as we need it."""

    folder: Path
    name: str
    schema: dict[str, Any]
    backend: str | None

    @staticmethod
    def load(folder: Path) -> Project:
        """Read Pulumi.yaml in a folder. Raises UserError when it is missing or has no name."""
        path = folder / "Pulumi.yaml"
        if not path.exists():
            raise UserError(f"no Pulumi.yaml in {folder}: say --project-dir, or go to the project's folder")
        data = read_yaml(path)
        name = data.get("name")
        if not isinstance(name, str) or not name:
            raise UserError("Pulumi.yaml: name is missing")
        schema, backend = _mapping(data, "config", path), _mapping(data, "backend", path)
        url = backend.get("url")
        return Project(folder, name, schema, str(url) if url else None)


@dataclass
class StackConfig:
    """A stack's configuration as a program gets it: every value is text (JSON for structured values)."""

    values: dict[str, str]
    secret_keys: list[str]
    secrets: list[str]  # the opened secure values, for those who must not show them
    placeholders: bool = False  # secrets that stayed closed, in a preview without a passphrase

    def export(self) -> None:
        """Hand it to the program as the CLI does."""
        os.environ["PULUMI_CONFIG"] = json.dumps(self.values)
        os.environ["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(self.secret_keys)


@dataclass
class Stack:
    """Pulumi.<stack>.yaml."""

    project: Project
    name: str
    path: Path
    config: dict[str, Any]
    salt: str | None

    @staticmethod
    def load(project: Project, name: str) -> Stack:
        """Read a stack file. Raises UserError naming the stacks that exist when this one doesn't."""
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name):
            raise UserError(f"{name!r} is not a stack name: letters, digits, '-', '_' and '.'")
        path = project.folder / f"Pulumi.{name}.yaml"
        if not path.exists():
            there = sorted(p.name[7:-5] for p in project.folder.glob("Pulumi.*.yaml"))
            raise UserError(f"no stack {name!r}: there is no {path.name}; stacks here: {', '.join(there) or 'none'}")
        data = read_yaml(path)
        if data.get("secretsprovider") not in (None, "passphrase") or data.get("encryptedkey"):
            raise UserError(f"{path.name}: only the passphrase secrets provider can be read here")
        salt: object = data.get("encryptionsalt")
        if not isinstance(salt, str | None):
            raise UserError(f"{path.name}: encryptionsalt is not a text")
        return Stack(project, name, path, _mapping(data, "config", path), salt)

    def has_secure(self) -> bool:
        """Whether a value is encrypted."""
        return any(_has_secure(value) for value in self.config.values())

    def add_salt(self, line: str) -> None:
        """Add `encryptionsalt` above `config:`; the file's comments and layout stay as they are.

        Above, because secrets are pasted below: behind a line of the top level they would be no part of `config`.
        """
        text = self.path.read_text()
        gap = "" if not text or text.endswith("\n") else "\n"
        salt = f"encryptionsalt: {line}\n"
        found = re.search(r"^config:", text, re.MULTILINE)
        temporary = self.path.with_name(f".{self.path.name}.new")
        temporary.write_text(text[: found.start()] + salt + text[found.start() :] if found else f"{text}{gap}{salt}")
        temporary.chmod(self.path.stat().st_mode & 0o777)
        temporary.replace(self.path)
        self.salt = line

    def resolve(self, keyring: Keyring, placeholders: bool) -> StackConfig:
        """The configuration with project defaults and opened secrets.

        With `placeholders` and no passphrase, secrets become the text `[secret]` (previews: docs/contracts.md); else
        that is a UserError.
        """
        refuse_clear_secrets(self.project.name, self.path.name, self.config)
        closed = self.has_secure() and placeholders and not keyring.open
        values: dict[str, str] = {}
        secret_keys: list[str] = []
        opened: list[str] = []
        for key, raw in self.config.items():
            full = _full_key(self.project.name, key, self.path.name)
            value = self._open(raw, None if closed else keyring, opened)
            values[full] = "" if value is None else _as_text(value)  # as the CLI has it
            if _has_secure(raw):
                secret_keys.append(full)
        self._apply_schema(values, secret_keys)
        return StackConfig(dict(sorted(values.items())), sorted(secret_keys), opened, closed)

    def _open(self, raw: Any, keyring: Keyring | None, opened: list[str]) -> Any:
        if _is_secure(raw):
            if keyring is None:
                return MASK
            if not self.salt:
                raise UserError(f"{self.path.name}: there are secure values and no encryptionsalt")
            opened.append(keyring.crypter(self.salt).decrypt(str(raw["secure"])))
            return opened[-1]
        if isinstance(raw, dict):
            return {_as_text(k): self._open(v, keyring, opened) for k, v in cast("dict[Any, Any]", raw).items()}
        if isinstance(raw, list):
            return [self._open(v, keyring, opened) for v in cast("list[Any]", raw)]
        return raw

    def _apply_schema(self, values: dict[str, str], secret_keys: list[str]) -> None:
        missing: list[str] = []
        for key, entry in sorted(self.project.schema.items()):
            full = _full_key(self.project.name, key, "Pulumi.yaml")
            spec: dict[str, Any] = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {"default": entry}
            if full in values:
                _check_type(self.path.name, key, spec, values[full])
                if spec.get("secret") and full not in secret_keys:
                    raise UserError(f"{self.path.name}: {key} must be encrypted (pulumi config set --secret {key} …)")
            elif spec.get("default", spec.get("value")) is not None:
                values[full] = _as_text(spec.get("default", spec.get("value")))
            elif full.startswith(f"{self.project.name}:"):
                missing.append(key)
        if missing:
            raise UserError(
                f"{self.path.name}: missing configuration value{'s' * (len(missing) > 1)}: {', '.join(missing)}"
            )


def check_secrets(folder: Path, stack: str) -> None:
    """Raise UserError when a stack file holds a secret in clear; for who runs the stack with the CLI.

    The program can't see it there: the CLI takes the whole map for secret as soon as one value in it is encrypted.
    """
    path = folder / f"Pulumi.{stack}.yaml"
    refuse_clear_secrets(Project.load(folder).name, path.name, _mapping(read_yaml(path), "config", path))


def refuse_clear_secrets(project: str, file: str, config: dict[str, Any]) -> None:
    """Raise UserError naming each entry of the project's `secrets` that isn't encrypted."""
    clear: list[str] = []
    for key, raw in config.items():
        if _full_key(project, key, file) != f"{project}:secrets" or raw is None or _is_secure(raw):
            continue
        entries = cast("dict[Any, Any]", raw) if isinstance(raw, dict) else {}
        clear += [f"{key}.{name}" for name, value in entries.items() if not _is_secure(value)]
        clear += [str(key)] if not isinstance(raw, dict) else []
    if clear:
        stack = file.removeprefix("Pulumi.").removesuffix(".yaml")
        raise UserError(
            f"{file}: not encrypted: {', '.join(clear)}. `make encrypt STACK={stack}` turns each into the "
            "{secure: …} to write in its place; whoever has seen this file may know what stood there"
        )


def _is_secure(raw: Any) -> bool:
    return isinstance(raw, dict) and list(cast("dict[Any, Any]", raw)) == ["secure"]


def _has_secure(raw: Any) -> bool:
    if _is_secure(raw):
        return True
    if isinstance(raw, dict):
        return any(_has_secure(v) for v in cast("dict[Any, Any]", raw).values())
    return isinstance(raw, list) and any(_has_secure(v) for v in cast("list[Any]", raw))


def _full_key(project: str, key: object, file: str) -> str:
    text = str(key)
    parts = text.split(":")
    if len(parts) == 1:
        return f"{project}:{text}"
    if len(parts) == 3 and parts[1] == "config":
        return f"{parts[0]}:{parts[2]}"
    if len(parts) != 2 or not all(parts):
        raise UserError(f"{file}: {text!r} is not a configuration key; write <namespace>:<name>")
    return text


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _check_type(file: str, key: str, spec: dict[str, Any], text: str) -> None:
    """What the CLI checks of a typed configuration key."""
    wanted = spec.get("type")
    patterns = {
        "integer": r"[-+]?\d+",
        "number": r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?",
        "boolean": r"true|false",
    }
    if wanted in patterns and not re.fullmatch(patterns[wanted], text):
        raise UserError(f"{file}: {key} must be of type {wanted}, not {text!r}")
    if wanted in ("array", "object"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, list if wanted == "array" else dict):
            raise UserError(f"{file}: {key} must be of type {wanted}")

"""What the workshop's tools need to know of the project's stack files, backend and programs. Stdlib only."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
LOCAL_PASSPHRASE = "local-only"
PLACEHOLDER = "[secret]"
"""What the program gets for a secret that nobody can open in a preview (docs/contracts.md)."""


def names() -> list[str]:
    """The stacks that exist, `local` first."""
    found = [path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in ROOT.glob("Pulumi.*.yaml")]
    return sorted(found, key=lambda name: (name != "local", name))


def file_of(stack: str) -> Path:
    return ROOT / f"Pulumi.{stack}.yaml"


def _top_level(text: str, key: str) -> str | None:
    match = re.search(rf"^{key}:\s*['\"]?([^'\"\s#]+)", text, re.MULTILINE)
    return match[1] if match else None


def project_name() -> str:
    name = _top_level((ROOT / "Pulumi.yaml").read_text(), "name")
    if name is None:
        sys.exit("error: Pulumi.yaml names no project")
    return name


def uses_passphrase(stack: str) -> bool:
    return _top_level(file_of(stack).read_text(), "secretsprovider") in (None, "default", "passphrase")


def find_cli(env: dict[str, str]) -> str | None:
    """The CLI on PATH, else the one that `make pulumi` installed."""
    path = env.get("PATH", "") + os.pathsep + str(ROOT / ".uv" / "pulumi" / "bin")
    return shutil.which("pulumi", path=path)


def path_with(env: dict[str, str], *folders: str) -> str:
    path = env.get("PATH", "").split(os.pathsep)
    return os.pathsep.join([*(folder for folder in folders if folder not in path), *path])


def uv_folder(env: dict[str, str]) -> str:
    """The folder of a uv that is new enough."""
    told = subprocess.run(
        [str(ROOT / "tools" / "bootstrap.sh"), "uv"], env=env, stdout=subprocess.PIPE, text=True, check=False
    )
    if told.returncode != 0:
        sys.exit(told.returncode)  # it has said why
    return told.stdout.strip()


def wait_for(process: subprocess.Popen[Any]) -> int:
    """The exit code. Ctrl-C reaches the process by itself: let it end in its own time."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


@dataclass(frozen=True)
class Throwaway:
    """A project in a temporary folder: only what `pulumi stack init` reads and writes."""

    folder: Path
    stack_file: Path
    backend_url: str
    passphrase: str
    secure_paths: tuple[str, ...]


@contextmanager
def throwaway(stack: str) -> Generator[Throwaway]:
    with tempfile.TemporaryDirectory(prefix="preview-") as name:
        folder = Path(name)
        backend = folder / "state"
        backend.mkdir()
        (folder / "Pulumi.yaml").write_text(f"name: {project_name()}\nruntime: python\n")
        stack_file = folder / f"Pulumi.{stack}.yaml"
        paths = _without_secrets(file_of(stack), stack_file)
        yield Throwaway(folder, stack_file, backend.as_uri(), secrets.token_hex(16), paths)


def _without_secrets(source: Path, target: Path) -> tuple[str, ...]:
    """Copy a stack file without what only its own key can read; where the secure values stood is returned."""
    text = source.read_text()
    if not re.search(r"^(encryptionsalt|encryptedkey|secretsprovider)\s*:|\bsecure\s*:", text, re.MULTILINE):
        target.write_text(text)
        return ()
    import yaml  # here only: nothing else in the tools needs it

    content = cast("dict[str, Any]", yaml.safe_load(text))
    for key in ("encryptionsalt", "encryptedkey", "secretsprovider"):
        content.pop(key, None)
    paths: list[str] = []
    for key, value in cast("dict[str, Any]", content.get("config") or {}).items():
        content["config"][key] = _replace_secure(value, key, paths)
    target.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return tuple(paths)


def _replace_secure(value: Any, path: str, paths: list[str]) -> Any:
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        if set(mapping) == {"secure"}:
            paths.append(path)
            return PLACEHOLDER
        return {
            k: _replace_secure(v, f'{path}["{k}"]' if not k.isidentifier() else f"{path}.{k}", paths)
            for k, v in mapping.items()
        }
    if isinstance(value, list):
        return [_replace_secure(v, f"{path}[{i}]", paths) for i, v in enumerate(cast("list[Any]", value))]
    return value

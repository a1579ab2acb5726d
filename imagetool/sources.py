"""The stand-in's sources: their digest, which its tag tells, and the context that Docker builds of (D13)."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import IO

REPOSITORY = "blockchain-dao/stand-in"
LABEL = "blockchain-dao.sources"
"""The image's label with the whole digest."""
CERTIFICATE = "company-ca.crt"
"""Where a proxy has certificates of its own: it goes along, and is nobody's source."""
_FILES = ("Dockerfile", "VERSION", "export_data.sh", "import_data.sh", "requirements.txt")
_PROGRAM = "standin"
"""The package: its modules are the image's; what a Finder or an editor leaves beside them isn't."""
_HEX = 12
_LONG_AGO = 315_532_800
"""1980-01-01: a copy of the sources, checked out another day, is the same."""


def stand_in_image(folder: str | Path) -> str:
    """The stand-in's name: it changes when, and only when, its sources or its version do."""
    version = (Path(folder) / "VERSION").read_text(encoding="utf-8").strip()
    return f"{REPOSITORY}:{version}-{digest(folder)[:_HEX]}"


def digest(folder: str | Path) -> str:
    """SHA-256 over names, whether they can be run, and contents of the sources, hexadecimal."""
    found = hashlib.sha256()
    for name, path in _sources(Path(folder)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{name}\0{_mode(path):o}\0{content}\n".encode())
    return found.hexdigest()


def write_context(folder: str | Path, out: IO[bytes]) -> None:
    """Writes what Docker builds of as a tar, byte for byte the same for the same sources."""
    base = Path(folder)
    given = _sources(base)
    if (base / CERTIFICATE).is_file():
        given.append((CERTIFICATE, base / CERTIFICATE))
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, path in sorted(given):
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), _mode(path), _LONG_AGO
            archive.addfile(entry, io.BytesIO(content))


def _sources(folder: Path) -> list[tuple[str, Path]]:
    """What the Dockerfile copies and what is in everybody's clone: by name, so that a stray file changes no tag."""
    modules = [path.relative_to(folder) for path in (folder / _PROGRAM).rglob("*.py")]
    names = {*_FILES, *(path.as_posix() for path in modules if not any(part.startswith(".") for part in path.parts))}
    return [(name, folder / name) for name in sorted(names) if (folder / name).is_file()]


def _mode(path: Path) -> int:
    """As git keeps it: umasks differ."""
    return 0o755 if path.stat().st_mode & 0o100 else 0o644

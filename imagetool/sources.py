"""The sources of what is built here: their digest, which the image's tag tells, and the context that Docker builds of.

Two folders are built of: `image/`, the stand-in (D13), and `edge/`, the edge. A folder has a Dockerfile and a VERSION;
what else is a source, the Dockerfile's own COPY lines say.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

STAND_IN = "blockchain-dao/stand-in"
EDGE = "blockchain-dao/edge"
LABEL = "blockchain-dao.sources"
"""The image's label with the whole digest."""
CERTIFICATE = "company-ca.crt"
"""Where a proxy has certificates of its own: it goes along, and is nobody's source."""
_DOCKERFILE, _VERSION = "Dockerfile", "VERSION"
_HEX = 12
_LONG_AGO = 315_532_800
"""1980-01-01: a copy of the sources, checked out another day, is the same."""


def stand_in_image(folder: str | Path) -> str:
    """The stand-in's name: it changes when, and only when, its sources or its version do."""
    return image_of(folder, STAND_IN)


def edge_image(folder: str | Path) -> str:
    """The edge's name, as the stand-in's."""
    return image_of(folder, EDGE)


def image_of(folder: str | Path, repository: str) -> str:
    """The name under `repository` of what is built of a folder: `repository:VERSION-DIGEST`.

    OSError when the folder isn't there or has no Dockerfile or VERSION.
    """
    version = (Path(folder) / _VERSION).read_text(encoding="utf-8").strip()
    return f"{repository}:{version}-{digest(folder)[:_HEX]}"


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
    """What is in everybody's clone and gets into the image: by name, so that a stray file changes no tag."""
    names = {_DOCKERFILE, _VERSION}
    for word in _copied((folder / _DOCKERFILE).read_text(encoding="utf-8")):
        names |= {word} if word != CERTIFICATE else set()
        # Of a folder the modules: what a Finder or an editor leaves beside them isn't anybody's.
        modules = (path.relative_to(folder) for path in (folder / word).rglob("*.py"))
        names |= {path.as_posix() for path in modules if not any(part.startswith(".") for part in path.parts)}
    return [(name, folder / name) for name in sorted(names) if (folder / name).is_file()]


def _copied(dockerfile: str) -> Iterator[str]:
    """The names that its COPY lines take from the folder; not those of another stage, nor patterns."""
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        instruction, *words = line.split() or [""]
        if instruction == "COPY" and not any(word.startswith("--from") for word in words):
            yield from (word for word in words[:-1] if not re.search(r"[*?\[]|^--", word))


def _mode(path: Path) -> int:
    """As git keeps it: umasks differ."""
    return 0o755 if path.stat().st_mode & 0o100 else 0o644

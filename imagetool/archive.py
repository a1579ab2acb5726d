"""What `docker save` writes, and what of it a server needs no more.

Docker's loader looks a layer up by its chain id (what lies under it included) before it opens the layer's file: a file
whose chain is there may be left out. Both layouts are read through `manifest.json`: `ID/layer.tar` (until Docker 24,
where a layer that is there twice may be a link) and `blobs/sha256/…` (since 25).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

MANIFEST = "manifest.json"
_LARGEST_TEXT = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image in an archive."""

    chain: str
    """Its chain id: what tells it together with all that lies under it."""
    names: frozenset[str]
    """The archive's entries that hold it: its own, and what that one links to."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is not sent: how many of how many layers, and their bytes."""

    entries: frozenset[str]
    layers: int
    of: int
    size: int


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain id of each layer, bottom first, as the image specification has it."""
    chains: list[str] = []
    for diff_id in diff_ids:
        text = f"{chains[-1]} {diff_id}" if chains else ""
        chains.append("sha256:" + hashlib.sha256(text.encode()).hexdigest() if chains else diff_id)
    return chains


def chains_of(images: Iterable[Sequence[str]]) -> frozenset[str]:
    """Every chain that images with these diff ids hold."""
    return frozenset(chain for diff_ids in images for chain in chain_ids(diff_ids))


def left_out(archive: tarfile.TarFile, there: Collection[str]) -> Left:
    """What a server that has the chains `there` needs no more; nothing of an archive that can't be understood."""
    members = {_plain(member.name): member for member in archive.getmembers()}
    layers = _layers(archive, members)
    needed = frozenset[str]().union(*(layer.names for layer in layers if layer.chain not in there))
    had = [layer for layer in layers if layer.chain in there]
    entries = frozenset[str]().union(*(layer.names for layer in had)) - needed
    size = sum(members[name].size for name in entries if name in members)
    return Left(entries, len(had), len(layers), size)


def send(archive: tarfile.TarFile, without: Collection[str], out: IO[bytes]) -> None:
    """Writes the archive again without some of its entries, a piece at a time."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as copy:
        for member in archive.getmembers():
            if _plain(member.name) not in without:
                copy.addfile(member, archive.extractfile(member) if member.isreg() else None)


def _layers(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> list[Layer]:
    manifest = _json(archive, members, MANIFEST)
    found: list[Layer] = []
    for image in cast("list[dict[str, Any]]", manifest if isinstance(manifest, list) else []):
        config = _json(archive, members, str(image.get("Config")))
        root = cast("dict[str, Any]", config if isinstance(config, dict) else {}).get("rootfs")
        diff_ids = cast("dict[str, list[str]]", root if isinstance(root, dict) else {}).get("diff_ids") or []
        names = cast("list[str]", image.get("Layers") or [])
        if len(diff_ids) != len(names):
            return []
        for chain, name in zip(chain_ids(diff_ids), names, strict=True):
            found.append(Layer(chain, _followed(members, _plain(name))))
    return found


def _followed(members: dict[str, tarfile.TarInfo], name: str) -> frozenset[str]:
    names = {name}
    while name in members and (members[name].issym() or members[name].islnk()):
        link = members[name]
        name = _plain(posixpath.join(posixpath.dirname(name), link.linkname) if link.issym() else link.linkname)
        if name in names:
            break
        names.add(name)
    return frozenset(names)


def _json(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> object:
    member = members.get(_plain(name))
    stream: BinaryIO | None = None
    if member is not None and member.isreg() and member.size <= _LARGEST_TEXT:
        stream = cast("BinaryIO | None", archive.extractfile(member))
    try:
        return json.load(stream) if stream is not None else None
    except ValueError:
        return None


def _plain(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")

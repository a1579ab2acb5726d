"""Archives as `docker save` writes them, in both of its layouts, of made-up images."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config_of(layers: Sequence[bytes]) -> bytes:
    diff_ids = [f"sha256:{sha(layer)}" for layer in layers]
    return json.dumps({"architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


class Writer:
    """A tar in memory."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self.bytes, mode="w")  # noqa: SIM115 - closed in `done`

    def file(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))

    def folder(self, name: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE
        self._tar.addfile(entry)

    def link(self, name: str, target: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def done(self) -> bytes:
        self._tar.close()
        return self.bytes.getvalue()


def legacy(images: Sequence[Sequence[bytes]]) -> bytes:
    """Until Docker 24: a folder for each layer of each image; a layer that is there already is a link."""
    out, manifest, first = Writer(), [], dict[str, str]()
    for number, layers in enumerate(images):
        names: list[str] = []
        for index, layer in enumerate(layers):
            folder = sha(f"{number} {index}".encode())
            out.folder(f"{folder}/")
            out.file(f"{folder}/VERSION", b"1.0")
            out.file(f"{folder}/json", b"{}")
            name = f"{folder}/layer.tar"
            if sha(layer) in first:
                out.link(name, f"../{first[sha(layer)]}")
            else:
                out.file(name, layer)
                first[sha(layer)] = name
            names.append(name)
        config = config_of(layers)
        out.file(f"{sha(config)}.json", config)
        manifest.append({"Config": f"{sha(config)}.json", "RepoTags": None, "Layers": names})
    out.file("manifest.json", json.dumps(manifest).encode())
    return out.done()


def oci(images: Sequence[Sequence[bytes]]) -> bytes:
    """Since Docker 25: everything is a blob by its digest, each once."""
    out, manifest, written, index = Writer(), [], set[str](), []

    def blob(content: bytes) -> str:
        name = f"blobs/sha256/{sha(content)}"
        if name not in written:
            out.file(name, content)
            written.add(name)
        return name

    out.folder("blobs/")
    out.folder("blobs/sha256/")
    for layers in images:
        names = [blob(layer) for layer in layers]
        config = config_of(layers)
        manifest.append({"Config": blob(config), "RepoTags": None, "Layers": names})
        described = json.dumps({"schemaVersion": 2, "layers": names}).encode()
        index.append({"digest": f"sha256:{blob(described).rpartition('/')[2]}"})
    out.file("index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
    out.file("manifest.json", json.dumps(manifest).encode())
    out.file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    return out.done()


def as_oci(archive: bytes) -> bytes:
    """An archive of the old layout in the new one."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as source:
        out = Writer()

        def read(name: str) -> bytes:
            stream = source.extractfile(name)
            assert stream is not None
            return stream.read()

        manifest = json.loads(read("manifest.json"))
        for image in manifest:
            for key, names in (("Config", [image["Config"]]), ("Layers", image["Layers"])):
                blobs = [f"blobs/sha256/{sha(read(name))}" for name in names]
                for blob, name in zip(blobs, names, strict=True):
                    out.file(blob, read(name))
                image[key] = blobs if key == "Layers" else blobs[0]
        out.file("manifest.json", json.dumps(manifest).encode())
        out.file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    return out.done()

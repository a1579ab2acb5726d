"""The two ways: push what this machine's Docker has, or have the server build it."""

from __future__ import annotations

import sys
import tarfile
from typing import Any

from imagetool import local
from imagetool.archive import Left, chains_of, left_out, send
from imagetool.errors import DeliveryError
from imagetool.server import Server
from imagetool.sources import LABEL, digest, image_of, write_context

_DISK_FULL = "no space left"
_NOTHING = Left(frozenset(), 0, 0, 0)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

Delivery = dict[str, Any]
"""What plan/render/images.py writes."""


def push(delivery: Delivery, reference: str, server: Server) -> dict[str, Any]:
    """Brings an image of this machine's Docker to the server, unless it is there; the server's result."""
    hello = server.hear()
    there, build = hello["here"], delivery["build"]
    if build is not None:
        require_sources(build["folder"], delivery["run_as"])
        if there is not None and local.sources_of(there) == digest(build["folder"]):
            return keep(server)
        here = local.build(build["folder"], reference, build["arguments"], build["network"])
    else:
        here = _pinned(reference)
        if there is not None and (here is None or local.same(here, there)):
            return keep(server)
        if here is None:
            wrong = f"{reference} is neither on {delivery['host']['address']} nor in this machine's Docker"
            cure = local.trouble() or "build or pull it here, or name one that is there"
            raise DeliveryError(f"{wrong}; {cure}")
    require_fit(delivery, hello, here)
    return keep(server, id=transfer(server, here, hello["layers"], reference))


def build(delivery: Delivery, server: Server) -> dict[str, Any]:
    """Has the server build the delivery's folder, unless it has that; the server's result."""
    given = delivery["build"]
    require_sources(given["folder"], delivery["run_as"])
    wanted = digest(given["folder"])
    there = server.hear()["here"]
    if there is not None and local.sources_of(there) == wanted:
        return keep(server)
    _tell(f"{delivery['run_as']}: the server builds it of {given['folder']}/")
    order = {"do": "build", "arguments": given["arguments"], "network": given["network"], "labels": {LABEL: wanted}}
    server.say(order)
    server.send(lambda out: write_context(given["folder"], out))
    return server.hear()


def keep(server: Server, **more: str) -> dict[str, Any]:
    """Nothing is left to be sent: the server writes down what it has, and gives it its name."""
    server.say({"do": "keep", **more})
    return server.hear()


def require_sources(folder: str, image: str) -> None:
    """The name was made of the sources as the plan saw them: they must not have changed since."""
    now = image_of(folder, image.rpartition(":")[0])
    if image != now:
        raise DeliveryError(f"{folder}/ changed while this ran ({image} was planned, it is {now} now): run it again")


def require_fit(delivery: Delivery, hello: dict[str, Any], here: local.Image) -> None:
    """What would run into trouble on the server: built for another processor, or a version that is something else."""
    image, address = delivery["run_as"], delivery["host"]["address"]
    arch, wanted = (_ARCHITECTURES.get(one, one) for one in (str(here["arch"]), str(hello["arch"])))
    if arch != wanted:
        cure = f"build it with `docker build --platform linux/{wanted}`"
        cure = "say `images.stand_in: build`" if delivery["build"] is not None else cure
        raise DeliveryError(f"{image} is built for {arch}, and {address} is {wanted}; {cure}")
    if hello["here"] is not None and hello["users"]:
        users = ", ".join(hello["users"])
        wrong = f"{image} is another image on {address} than here, and {users} runs it: a version must stay what it is"
        raise DeliveryError(f"{wrong}; give the new image a tag of its own, or pin it (…@{here['id']})")


def _pinned(reference: str) -> local.Image | None:
    """The image as it is here; where it is pinned, exactly that one (its id, or the digest of its registry)."""
    name, _, digest_ = reference.partition("@")
    if not digest_:
        return local.find(name)
    found = local.find(digest_) or local.find(reference)
    other = None if found else local.find(name)
    if other is not None:
        raise DeliveryError(f"{name} is {other['id']} here, and the stack file pins {digest_}; pin it, or get that one")
    return found


def transfer(server: Server, image: local.Image, layers: list[list[str]], reference: str) -> str:
    """Sends what the server lacks, and where it lacks more than it seemed, all of it; the image's id there."""
    with local.save(image) as spool, tarfile.open(fileobj=spool) as archive:
        left = left_out(archive, chains_of(layers))
        answer = _load(server, archive, left, reference)
        refused = str(answer.get("refused", ""))
        if refused and left.entries and _DISK_FULL not in refused.lower():
            _tell(f"{reference}: the server has less than it seemed ({refused}); sending all of it")
            answer = _load(server, archive, _NOTHING, reference)
            refused = str(answer.get("refused", ""))
    if refused:
        cure = "; make room on its disk" if _DISK_FULL in refused.lower() else ""
        raise DeliveryError(f"{reference}: Docker on the server refused it: {refused}{cure}")
    if not local.same(image, answer["loaded"]):
        raise DeliveryError(f"{reference}: what arrived is {answer['loaded']['id']}, what was sent is {image['id']}")
    return str(answer["loaded"]["id"])


def _load(server: Server, archive: tarfile.TarFile, left: Left, reference: str) -> dict[str, Any]:
    server.say({"do": "load"})
    sent = server.send(lambda out: send(archive, left.entries, out))
    had = f"; left out {_size(left.size)}: {left.layers} of {left.of} layers are there" if left.entries else ""
    _tell(f"{reference}: sent {_size(sent)} compressed{had}")
    return server.hear()


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB ({count} bytes)"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

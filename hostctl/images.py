"""The images that were brought to this host: what is known of each, whether it is still here, and taking it away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, TypedDict, cast

from hostctl import audit
from hostctl.console import say
from hostctl.context import Context
from hostctl.docker_api import DockerApi, DockerMissing, DockerRefused
from hostctl.errors import HostctlError
from hostctl.labels import label_of
from hostctl.layout import make_folder, read_json, remove, write_json

KEPT_FORMER = 1
"""How many earlier versions stay: one to go back to."""


class Version(TypedDict):
    """One image, once under this name."""

    image: str
    id: str


class ImageRecord(TypedDict):
    """`state/images/NAME.json`."""

    image: str
    """The name by which containers know it; empty once it is forgotten and only a rollback needs its versions."""
    id: str
    ours: bool
    """Whether we brought it: what was here before us is never taken away."""
    former: List[Version]
    """Earlier ones that we brought and that are still here, the latest first."""
    generation: int
    label: str


def remember(
    context: Context, name: str, image: str, identity: str, brought: bool, observed: Optional[str]
) -> ImageRecord:
    """Writes down what is here now under a name, and takes away versions that nobody goes back to.

    What a service runs with, or would after a rollback, stays however old it is, until a later change lets go of it.
    """
    before = _read(context, name)
    same = before is not None and before["image"] == image and before["id"] == identity
    former = list(before["former"]) if before else []
    if before is not None and not same and before["ours"]:
        former.insert(0, {"image": before["image"], "id": before["id"]})
    former = [one for one in former if one["image"] != image]
    record: ImageRecord = {
        "image": image,
        "id": identity,
        "ours": brought or _we_brought(context, image, identity),
        "former": former,
        "generation": (before["generation"] if before else 0) + 1,
        "label": observed if observed is not None else (before["label"] if before else ""),
    }
    make_folder(_folder(context), 0o700)
    write_json(_path(context, name), record)
    if former[KEPT_FORMER:]:
        kept, _ = _let_go(context, DockerApi(), name, former[KEPT_FORMER:])
        record["former"] = former[:KEPT_FORMER] + kept
        write_json(_path(context, name), record)
    _tidy(context)
    return record


def _let_go(
    context: Context, api: DockerApi, name: str, versions: Sequence[Version]
) -> Tuple[List[Version], List[str]]:
    """Takes versions away unless a service needs them: those that stay for it, and the names of those that went."""
    if not versions:
        return [], []
    needed = context.store.images()
    kept = [one for one in versions if one["image"] in needed]
    return kept, [one["image"] for one in versions if one not in kept and _take_away(context, api, name, one)]


def _tidy(context: Context) -> None:
    """Lets go of what is forgotten and no rollback needs any more."""
    for name, record in _records(context).items():
        if record["image"]:
            continue
        kept, _ = _let_go(context, DockerApi(), name, record["former"])
        if _read(context, name) == record:  # unless it comes back this moment
            _forget(context, name, record, kept)


def _forget(context: Context, name: str, record: ImageRecord, kept: List[Version]) -> None:
    if not kept:
        remove(_path(context, name))
    elif record["image"] or record["former"] != kept:
        left: ImageRecord = {**record, "image": "", "id": "", "ours": False, "former": kept, "label": ""}
        write_json(_path(context, name), left)


def _we_brought(context: Context, image: str, identity: str) -> bool:
    """Whether any name has it as ours, now or formerly: the plan may call an image otherwise than before."""
    wanted = {"image": image, "id": identity}
    for record in _records(context).values():
        current = {"image": record["image"], "id": record["id"]}
        if wanted in record["former"] or (record["ours"] and current == wanted):
            return True
    return False


def forget(context: Context, name: str, image: Optional[str] = None) -> Dict[str, Any]:
    """Forgets an image; takes away what we brought, unless a container or another name still needs it.

    With `image`, only while the name still means that one: where an image of that name comes from elsewhere now (a
    registry, say, and was built here), the new one is there before the old one goes.
    What a rollback needs stays, until one of the images that come or go later finds that none does any more.
    """
    record = _read(context, name)
    if record is None or not record["image"]:
        return {"name": name, "outcome": "absent"}
    if image not in (None, record["image"]):
        say("%s is %s by now, and stays" % (name, record["image"]))
        return {"name": name, "outcome": "replaced", "removed": []}
    mine = list(record["former"])
    if record["ours"]:
        mine.append({"image": record["image"], "id": record["id"]})
    kept, gone = _let_go(context, DockerApi(), name, mine)
    for one in kept:
        say("%s stays: a service runs with it, or would after a rollback" % one["image"])
    _forget(context, name, record, kept)
    _tidy(context)
    outcome = "removed" if gone else "kept"
    audit.record(context.layout, "remove-image", name, outcome, images=gone)
    return {"name": name, "outcome": outcome, "removed": gone}


def labels(context: Context) -> Dict[str, str]:
    """The observed label of every image on record: the adopted one while it is as it was left."""
    api = DockerApi()
    found: Dict[str, str] = {}
    for name, record in _records(context).items():
        if record["image"]:
            found[name] = label_of(_differs(api, record), record["generation"], record["label"])
    return found


def tag(api: DockerApi, identity: str, image: str) -> None:
    """Gives an image a name (`repository:tag`)."""
    repository, _, version = image.rpartition(":")
    api.post("/images/%s/tag" % identity, repo=repository, tag=version)


def untag(api: DockerApi, image: str) -> bool:
    """Takes a name away, and the image with its last one; best effort, never by force."""
    try:
        api.delete("/images/%s" % image)
    except DockerRefused as error:
        if error.status != 404:
            say("%s stays: %s" % (image, error))
        return False
    return True


def users(api: DockerApi, identity: str) -> List[str]:
    """The names of the containers, running or not, that were made of an image."""
    return sorted(
        str(one["Names"][0]).lstrip("/") if one.get("Names") else str(one["Id"])[:12]
        for one in api.containers()
        if one.get("ImageID") == identity
    )


def _take_away(context: Context, api: DockerApi, name: str, version: Version) -> bool:
    try:
        found = api.image(version["image"])
        if found is None or found["Id"] != version["id"]:
            return False  # somebody else's by now
        others = [record for other, record in _records(context).items() if other != name]
        if any(other["image"] == version["image"] for other in others):
            return False
        needed = users(api, version["id"])
        if needed:
            say("%s stays: %s needs it" % (version["image"], ", ".join(needed)))
            return False
        return untag(api, version["image"])
    except DockerMissing as error:
        say("%s stays: %s" % (version["image"], error))
        return False


def _differs(api: DockerApi, record: ImageRecord) -> str:
    try:
        found = api.image(record["image"])
    except HostctlError:
        return "Docker doesn't answer"
    if found is None:
        return "%s is not on the host" % record["image"]
    return "" if found["Id"] == record["id"] else "%s is another image" % record["image"]


def _read(context: Context, name: str) -> Optional[ImageRecord]:
    return cast("Optional[ImageRecord]", read_json(_path(context, name)))


def _folder(context: Context) -> Path:
    return context.layout.state / "images"


def _path(context: Context, name: str) -> Path:
    # A file each: images that come at the same time don't wait for each other.
    return _folder(context) / (name + ".json")


def _records(context: Context) -> Dict[str, ImageRecord]:
    """Every record by its name; one that another process removes just now is none."""
    read = {path.stem: read_json(path) for path in sorted(_folder(context).glob("[a-z0-9]*.json"))}
    return {name: cast(ImageRecord, record) for name, record in read.items() if record is not None}


def seconds_since(began: float) -> float:
    """For the audit log."""
    return round(time.monotonic() - began, 2)

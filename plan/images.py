"""Images: which ones a server needs, under which names it runs them, and how it gets them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plan.catalog import STAND_IN_IMAGE
from plan.models import EnvironmentPlan, ImagePlan, ImageSource, ImagesPlan, LoginPlan, ServicePlan
from plan.semantic import DOCKER_HUB, registry, repository
from plan.settings import Placement, Settings

REGISTRY = "registry"
"""The name of the secret that opens the registry."""
STAND_IN = "stand-in"
"""The name of the stand-in's image among the plan's."""
_LONGEST_TAG = 128
_HEX = 12


def images_plan(settings: Settings, stand_in_image: str) -> ImagesPlan:
    """What the stack file says of images; the tag that tells the stand-in's sources is for servers only."""
    given = settings.images
    return ImagesPlan(
        mirror=given.mirror,
        login=LoginPlan(given.login.server, given.login.user) if given.login else None,
        stand_in=stand_in_image if settings.runtime == "compose" else STAND_IN_IMAGE,
        stand_in_from=given.stand_in,
        base=given.build.base,
        pip_index=given.build.pip_index,
        network=given.build.network,
    )


def source_of(given: Placement, images: ImagesPlan) -> ImageSource:
    """How a server gets the image of this entry."""
    if given.image is None:
        return images.stand_in_from
    return given.image_from or "registry"


def run_as(given: Placement, settings: Settings, images: ImagesPlan) -> str:
    """The name under which containers run the image of this entry.

    Docker finds an image by a registry's digest only where it came from that registry. What is pushed, or comes through
    a mirror, has the digest's first digits in its tag instead: two of one version are two images, and the old one is
    still there when the new one doesn't become healthy.
    """
    if given.image is None:
        return images.stand_in
    name, _, digest = given.image.partition("@sha256:")
    mirrored = images.mirror is not None and registry(name) == DOCKER_HUB
    if settings.runtime != "compose" or not digest or not (source_of(given, images) == "push" or mirrored):
        return given.image
    folder, slash, last = name.rpartition("/")
    plain, colon, tag = last.partition(":")
    tag = f"{tag[: _LONGEST_TAG - _HEX - 1]}-{digest[:_HEX]}" if colon else digest[:_HEX]
    return f"{folder}{slash}{plain}:{tag}"


def images_of(plan: EnvironmentPlan) -> tuple[ImagePlan, ...]:
    """Every image that a server of this plan needs, each once; none where nothing runs on a server.

    The stand-in's is also the databases' client.
    """
    if plan.runtime != "compose":
        return ()
    users: dict[str, list[ServicePlan]] = {}
    for service in plan.running:
        users.setdefault(service.image, []).append(service)
    if plan.databases:
        users.setdefault(plan.images.stand_in, [])
    return tuple(_named(plan, users))


def _named(plan: EnvironmentPlan, users: dict[str, list[ServicePlan]]) -> Iterator[ImagePlan]:
    """A new version keeps its image's name: previews show a change, not one that goes and one that comes."""
    taken: set[str] = {STAND_IN}
    for image in sorted(users):
        ours = image == plan.images.stand_in
        base = _slug(image)
        name, count = STAND_IN if ours else base, 1
        while name in taken and not ours:
            count += 1
            name = f"{base}-{count}"
        taken.add(name)
        first = users[image][0] if users[image] else None
        reference = first.reference if first else image
        yield ImagePlan(
            name=name,
            source=first.image_from if first else plan.images.stand_in_from,
            reference=reference,
            run_as=image,
            digest=reference[reference.find("@") + 1 :] if "@" in reference else "",
            keys=tuple(service.key for service in users[image]),
        )


def _slug(image: str) -> str:
    last = repository(image).rpartition("/")[2]
    return re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:50] or "image"

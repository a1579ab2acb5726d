"""Images: which ones a server needs, under which names it runs them, and how it gets them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from plan.catalog import EDGE, EDGE_IMAGE, STAND_IN_IMAGE
from plan.models import EnvironmentPlan, ImagePlan, ImageSource, ImagesPlan, LoginPlan
from plan.semantic import DOCKER_HUB, registry, repository
from plan.settings import Edge, Placement, Settings

REGISTRY = "registry"
"""The name of the secret that opens the registry."""
STAND_IN = "stand-in"
"""The name of the stand-in's image among the plan's."""
STAND_IN_FOLDER, EDGE_FOLDER = "image", "edge"
"""Of what the images of our own are built."""
_LONGEST_TAG = 128
_HEX = 12
_LONGEST_NAME = 63
"""As hostctl takes them."""


@dataclass(frozen=True, slots=True)
class Runner:
    """What runs an image: a service, or the edge."""

    name: str
    key: str
    image: str
    reference: str
    image_from: ImageSource


def runners(plan: EnvironmentPlan) -> Iterator[Runner]:
    """Everything that this plan starts."""
    for one in plan.running:
        yield Runner(one.name, one.key, one.image, one.reference, one.image_from)
    if plan.edge is not None:
        yield Runner(EDGE, EDGE, plan.edge.image, plan.edge.reference, plan.edge.image_from)


def images_plan(settings: Settings, stand_in_image: str, edge_image: str) -> ImagesPlan:
    """What the stack file says of images; the tags that tell the sources of our own are for servers only."""
    given = settings.images
    server = settings.runtime == "compose"
    return ImagesPlan(
        mirror=given.mirror,
        login=LoginPlan(given.login.server, given.login.user) if given.login else None,
        stand_in=stand_in_image if server else STAND_IN_IMAGE,
        edge=edge_image if server else EDGE_IMAGE,
        stand_in_from=given.stand_in,
        base=given.build.base,
        pip_index=given.build.pip_index,
        network=given.build.network,
    )


def source_of(given: Placement | Edge, images: ImagesPlan) -> ImageSource:
    """How a server gets the image of this entry."""
    if given.image is None:
        return images.stand_in_from
    return given.image_from or "registry"


def run_as(given: Placement | Edge, settings: Settings, images: ImagesPlan) -> str:
    """The name under which containers run the image of this entry.

    Docker finds an image by a registry's digest only where it came from that registry. What is pushed, or comes through
    a mirror, has the digest's first digits in its tag instead: two of one version are two images, and the old one is
    still there when the new one doesn't become healthy.
    """
    if given.image is None:
        return images.edge if isinstance(given, Edge) else images.stand_in
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
    users: dict[str, list[Runner]] = {}
    for runner in runners(plan):
        users.setdefault(runner.image, []).append(runner)
    if plan.databases:
        users.setdefault(plan.images.stand_in, [])
    return tuple(_named(plan, users))


def _named(plan: EnvironmentPlan, users: dict[str, list[Runner]]) -> Iterator[ImagePlan]:
    """A new version keeps its image's name: previews show a change, not one that goes and one that comes."""
    own = {plan.images.stand_in: (STAND_IN, STAND_IN_FOLDER)}
    if plan.images.edge in users:
        own[plan.images.edge] = (EDGE, EDGE_FOLDER)
    slugs = {image: _slug(image) for image in users if image not in own}
    # The edge's own has its name also while another one is in its place: that must be none of the same name.
    count = Counter([STAND_IN, *([EDGE] if plan.edge is not None else []), *slugs.values()])
    for image in sorted(users):
        first = users[image][0] if users[image] else None
        slug, folder = own.get(image) or (slugs[image], None)
        shared = image in slugs and count[slug] > 1
        reference = first.reference if first else image
        yield ImagePlan(
            name=_beside_others(slug, users[image]) if shared else slug,
            source=first.image_from if first else plan.images.stand_in_from,
            reference=reference,
            run_as=image,
            digest=reference[reference.find("@") + 1 :] if "@" in reference else "",
            keys=tuple(user.key for user in users[image]),
            folder=folder,
        )


def _beside_others(slug: str, users: list[Runner]) -> str:
    """Where several images have one slug, each is told by who runs it: no other image's change renames it.

    By the alphabet, as what services need changes their order. No slug has two hyphens in a row.
    """
    service = min(user.name for user in users)
    name = f"{slug}--{service}"
    if len(name) <= _LONGEST_NAME:
        return name
    short = hashlib.sha256(service.encode()).hexdigest()[:_HEX]
    return f"{slug[: _LONGEST_NAME - _HEX - 2]}--{short}"


def _slug(image: str) -> str:
    last = repository(image).rpartition("/")[2]
    return re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:50] or "image"

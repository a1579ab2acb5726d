"""Images: where they come from, and whether that can be (D13)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plan.images import REGISTRY, Runner, images_of, runners
from plan.models import EnvironmentPlan, ImagesPlan
from plan.problems import Notice, Problem


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Sources of nothing, one image from two sources, a login without its password."""
    members = [member for edition in plan.editions for member in edition.members]
    for service in (*plan.services, *members):
        if not service.image_from_given:
            continue
        key = f"{service.key}.image_from"
        if plan.runtime != "compose":
            yield Problem(key, f"runtime {plan.runtime} has no server to bring an image to", "drop it")
        elif not service.image_given:
            yield Problem(key, "says where an image comes from, and none is named", "add image, or drop this")
    yield from _two_sources(plan)
    login = plan.images.login
    if login is not None:
        if REGISTRY not in plan.secret_names:
            right = f"set secrets.{REGISTRY} (`make encrypt`, or `pulumi config set --secret`)"
            yield Problem("images.login", f"the password of {login.user} at {login.server} is missing", right)
        for database in plan.databases:
            if database.name == REGISTRY:
                wrong = f"secrets.{REGISTRY} is the password of images.login"
                yield Problem(f"databases.{REGISTRY}", wrong, "choose another name")


def _two_sources(plan: EnvironmentPlan) -> Iterator[Problem]:
    users: dict[str, list[Runner]] = defaultdict(list)
    for runner in runners(plan):
        users[runner.image].append(runner)
    for image, those in users.items():
        first = those[0]
        for other in those[1:]:
            if other.image_from != first.image_from:
                wrong = f"{image} comes by {other.image_from} here and by {first.image_from} for {first.name}"
                right = f"write `{first.image_from}`, or another image"
                if "build" in (other.image_from, first.image_from):
                    whose = "edge" if image == plan.images.edge else "stand-in"
                    right = f"drop image: it is the {whose}'s"
                yield Problem(f"{other.key}.image_from", wrong, right)


def notices(plan: EnvironmentPlan) -> Iterator[Notice]:
    """A registry's tags, which may be moved behind our back; settings that wait for a server."""
    if plan.runtime != "compose" and plan.images != ImagesPlan(stand_in=plan.images.stand_in, edge=plan.images.edge):
        yield Notice("images", f"does nothing: runtime {plan.runtime} has no server to bring images to")
    if plan.mode == "development":
        return
    for image in images_of(plan):
        if image.source == "registry" and not image.digest:
            for key in image.keys:
                yield Notice(
                    f"{key}.image", f"a tag can be moved; pin {image.reference}@sha256:… so that the same always runs"
                )

"""An image on a server: from its registry, pushed from here, or built there (D13); and the registry's login."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi

from components import remote
from components.remote import Target
from plan.images import REGISTRY
from plan.models import EnvironmentPlan, ImagePlan
from plan.render import image_definition, image_delivery
from plan.render.process import PYTHON


@dataclass(frozen=True, slots=True)
class HostImageArgs:
    """What a HostImage needs: its slice of the plan, and what is said of it to who brings it."""

    image: ImagePlan
    target: Target
    told: dict[str, Any]
    """For `hostctl image`, or for `imagetool` where it comes from this machine."""
    label: pulumi.Output[str] | None


def host_image(
    plan: EnvironmentPlan,
    image: ImagePlan,
    target: Target,
    label: pulumi.Output[str] | None,
    opts: pulumi.ResourceOptions,
) -> HostImage:
    """One of the plan's images on its server."""
    told = image_definition(plan, image) if image.source == "registry" else image_delivery(plan, image)
    return HostImage(f"{image.name}-image", HostImageArgs(image, target, told, label), opts)


class HostImage(pulumi.ComponentResource):
    """One image, on the server when it is done."""

    TYPE = "blockchain:images:HostImage"
    image: pulumi.Output[str]
    """The name by which containers run it."""
    digest: pulumi.Output[str]
    """Its id on the server."""

    def __init__(self, name: str, args: HostImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        image, target = args.image, args.target
        from_here = image.source != "registry"
        text = (
            # Digest and all: a preview shows in one line what changes.
            remote.here(PYTHON, "-m", "imagetool", image.source, image.name, image.reference)
            if from_here
            else remote.hostctl(target, "image", image.name)
        )
        remove = remote.removal_from_here if from_here else remote.removal
        command = remote.CommandArgs(
            target=target,
            create=remote.observed(target, text, args.label),
            stdin=json.dumps(args.told, ensure_ascii=False, indent=2),
            # Which image, too: one of the same name that comes from elsewhere is there before this one goes.
            delete=remove(target, "remove-image", image.name, image.run_as),
            from_here=from_here,
        )
        brought = remote.run(f"{name}-brought", command, pulumi.ResourceOptions(parent=self))
        self.image = pulumi.Output.from_input(image.run_as)
        self.digest = remote.answer(brought).apply(id_of)
        self.register_outputs({"image": self.image, "digest": self.digest})


@dataclass(frozen=True, slots=True)
class RegistryLoginArgs:
    """What a RegistryLogin needs."""

    target: Target
    password: pulumi.Output[str]


class RegistryLogin(pulumi.ComponentResource):
    """The password of the images' registry, in a file of the server that root alone reads (D6)."""

    TYPE = "blockchain:images:RegistryLogin"

    def __init__(self, name: str, args: RegistryLoginArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        remote.secret(REGISTRY, remote.password(args.password), args.target, pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


def id_of(answer: str) -> str:
    """The image's id in what hostctl says at the end; empty where it said nothing, as in tests."""
    lines = answer.strip().splitlines()
    try:
        return str(json.loads(lines[-1])["id"]) if lines else ""
    except (ValueError, KeyError, TypeError):
        return ""

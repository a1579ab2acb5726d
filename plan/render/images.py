"""What is said of an image to who brings it: `hostctl image` on the server, `imagetool` on this machine."""

from __future__ import annotations

from typing import Any

from plan.images import STAND_IN_FOLDER
from plan.models import EnvironmentPlan, ImagePlan
from plan.semantic import DOCKER_HUB, registry

SCHEMA = 1


def image_definition(plan: EnvironmentPlan, image: ImagePlan) -> dict[str, Any]:
    """For `hostctl image`: what to pull, the name that containers know it by, and who logs in. Never secret."""
    login, server = plan.images.login, registry(image.reference)
    named = login is not None and _server(login.server) == server
    return {
        "schema": SCHEMA,
        "kind": "image",
        "name": image.name,
        "image": image.reference,
        "run_as": image.run_as,
        "mirror": (plan.images.mirror or "") if server == DOCKER_HUB else "",
        "login": {"server": login.server, "user": login.user} if login is not None and named else None,
    }


def image_delivery(plan: EnvironmentPlan, image: ImagePlan) -> dict[str, Any]:
    """For `imagetool`: to which server, as what, and how one of our own is built. Never secret."""
    host = plan.host
    return {
        "schema": SCHEMA,
        "kind": "image-delivery",
        "name": image.name,
        "run_as": image.run_as,
        "host": {
            "address": host.address,
            "port": host.ssh_port,
            "user": host.user,
            "host_key": host.host_key or "",
            "hostctl": f"{host.layout.root}/bin/hostctl",
        },
        "build": None if image.folder is None else _build(plan, image.folder),
    }


def _build(plan: EnvironmentPlan, folder: str) -> dict[str, Any]:
    """Of which folder, with which arguments of its Dockerfile: the edge's has no Python packages."""
    images = plan.images
    arguments = {"BASE": images.base, "PIP_INDEX_URL": images.pip_index if folder == STAND_IN_FOLDER else None}
    return {
        "folder": folder,
        "arguments": {name: value for name, value in arguments.items() if value is not None},
        "network": images.network or "",
    }


def _server(name: str) -> str:
    return DOCKER_HUB if name in ("index.docker.io", "registry-1.docker.io", "hub.docker.com") else name

"""The local runtime `docker`: network, images and containers. The only module that imports pulumi_docker."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components import remote
from plan.models import LOOPBACK, EnvironmentPlan, ServicePlan
from plan.render.compose import LABEL, health_test
from plan.render.environment import CONTAINER_DATA, DOCKER_HOST, gateway

_MEBIBYTE = 2**20
IMAGE_EXISTS = "components/scripts/image-exists.sh"


@dataclass(frozen=True, slots=True)
class Place:
    """What containers share: their network, and the stand-in's image."""

    stack: str
    network: pulumi.Output[str]
    stand_in: pulumi.Output[str] | None


@dataclass(frozen=True, slots=True)
class ContainerArgs:
    """One service's container."""

    service: ServicePlan
    place: Place
    env: pulumi.Output[dict[str, str]]
    secrets: tuple[pulumi.Output[dict[str, str]], ...]


def place(plan: EnvironmentPlan, opts: pulumi.ResourceOptions) -> Place:
    """The network of a stack's containers and, where any stands in, the stand-in's image."""
    network = docker.Network(
        f"blockchain-{plan.name}",
        name=f"blockchain-{plan.name}",
        ipam_configs=[docker.NetworkIpamConfigArgs(subnet=plan.host.subnet, gateway=gateway(plan))],
        labels=[docker.NetworkLabelArgs(label=f"{LABEL}.stack", value=plan.name)],
        opts=opts,
    )
    stand_in = next((service for service in plan.services if service.runs == "stand-in"), None)
    built = _built("stand-in", stand_in.image, "image", opts) if stand_in else None
    return Place(plan.name, network.name, built)


def container(name: str, args: ContainerArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """One healthy container; its id."""
    service, where = args.service, args.place
    megabytes = max(service.resources.memory // _MEBIBYTE, 6)
    return docker.Container(
        name,
        name=f"{where.stack}-{name}",
        image=_image(name, service, where, opts),
        envs=_environment(args),
        hosts=[docker.ContainerHostArgs(host=DOCKER_HOST, ip="host-gateway")],
        networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=where.network, aliases=[name])],
        ports=[
            docker.ContainerPortArgs(
                internal=service.port,
                external=service.port,
                ip="0.0.0.0" if service.public else LOOPBACK,  # noqa: S104
            )
        ],
        volumes=[docker.ContainerVolumeArgs(container_path=CONTAINER_DATA, volume_name=f"{where.stack}-{name}")],
        labels=[
            docker.ContainerLabelArgs(label=f"{LABEL}.stack", value=where.stack),
            docker.ContainerLabelArgs(label=f"{LABEL}.service", value=name),
        ],
        healthcheck=_healthcheck(service),
        wait=True,
        wait_timeout=math.ceil(service.health_timeout),
        restart="unless-stopped",
        memory=megabytes,
        # A memory limit without this one differs at every preview.
        memory_swap=megabytes,
        cpus=f"{service.resources.cpus:g}",
        stop_timeout=math.ceil(service.stop_grace),
        destroy_grace_seconds=math.ceil(service.stop_grace),
        must_run=True,
        # The port and the name can belong to one container only.
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    ).id


def _environment(args: ContainerArgs) -> pulumi.Output[list[str]]:
    def flat(parts: list[Mapping[str, str]]) -> list[str]:
        return [f"{key}={value}" for part in parts for key, value in sorted(part.items())]

    return pulumi.Output.all(args.env, *args.secrets).apply(flat)


def _image(name: str, service: ServicePlan, where: Place, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
    if service.runs == "image":
        # Asked in previews too: the provider would find out half-way through `up`.
        found = remote.read(("sh", IMAGE_EXISTS, service.image), "")
        known = found.apply(lambda answer: _require(service, answer.strip()))
        # keep_locally: an image that exists only here is taken, and destroy doesn't remove it.
        return docker.RemoteImage(f"{name}-image", name=known, keep_locally=True, opts=opts).image_id
    if service.runs == "folder" and service.folder is not None:
        return _built(name, f"blockchain-dao/{name}:local", service.folder, opts)
    if where.stand_in is None:
        raise ValueError(f"{name} runs the stand-in, but no image of it was planned")
    return where.stand_in


def _require(service: ServicePlan, answer: str) -> str:
    if answer == "missing":
        text = f"{service.image} is neither on this machine nor in its registry"
        raise pulumi.RunError(f"{service.key}.image: {text}; build or push it, or name one that is there")
    return service.image


def _built(name: str, image: str, folder: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The digest of what was built: the name stays the same when the code changes, and the old container would stay."""
    return docker.Image(
        f"{name}-image",
        image_name=image,
        build=docker.DockerBuildArgs(context=folder, dockerfile=f"{folder}/Dockerfile"),
        skip_push=True,
        opts=opts,
    ).repo_digest


def _healthcheck(service: ServicePlan) -> docker.ContainerHealthcheckArgs:
    return docker.ContainerHealthcheckArgs(
        tests=health_test(service),
        interval="2s",
        timeout="2s",
        retries=3,
        start_period=f"{service.health_timeout:g}s",
    )

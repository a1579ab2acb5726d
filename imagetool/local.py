"""This machine's Docker, by its own client: contexts and Docker Desktop are its business."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any, cast

from imagetool.errors import DeliveryError
from imagetool.sources import LABEL, digest, write_context

_CONFIG = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck"),
    *("Labels", "StopSignal", "User", "Volumes", "WorkingDir"),
)
Image = dict[str, Any]
"""What tells an image: `id`, `created`, `arch`, `layers` (diff ids), `config`; the server's side has the same form."""


def find(reference: str) -> Image | None:
    """The image of that name or id; None when it isn't here, or no Docker is."""
    try:
        done = subprocess.run(["docker", "image", "inspect", reference], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    if done.returncode != 0:
        return None
    one = cast("dict[str, Any]", json.loads(done.stdout)[0])
    config = cast("dict[str, Any]", one.get("Config") or {})
    return {
        "id": one["Id"],
        "created": one.get("Created"),
        "arch": one.get("Architecture"),
        "layers": cast("dict[str, list[str]]", one.get("RootFS") or {}).get("Layers") or [],
        "config": {key: config[key] for key in _CONFIG if config.get(key)},
    }


def trouble() -> str:
    """Why this machine's Docker doesn't answer; empty when it does."""
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, check=False)
    except FileNotFoundError:
        return "there is no docker on PATH"
    return _last(done.stderr) if done.returncode != 0 else ""


def same(one: Image, other: Image) -> bool:
    """Whether both are the same image: by id, or where two kinds of stores give it two, by all that is in it."""
    if one["id"] == other["id"]:
        return True
    return bool(one["layers"]) and all(one.get(key) == other.get(key) for key in ("created", "layers", "config"))


def sources_of(image: Image | None) -> str:
    """The digest of the sources that an image was built of; empty when it says none."""
    labels = cast("dict[str, str]", image["config"].get("Labels") or {}) if image else {}
    return labels.get(LABEL, "")


def save(image: Image) -> IO[bytes]:
    """The image in a file that is gone once it is closed; without a name, which the server gives it at the end."""
    # On the disk and not in memory; nobody else's: it has no name.
    spool = tempfile.TemporaryFile(prefix="imagetool-")  # noqa: SIM115 - who gets it closes it
    try:
        done = subprocess.run(
            ["docker", "image", "save", image["id"]], stdout=spool, stderr=subprocess.PIPE, check=False
        )
    except OSError as error:
        spool.close()
        raise DeliveryError(f"docker can't be run: {error.strerror}") from None
    if done.returncode != 0:
        spool.close()
        raise DeliveryError(f"docker save failed: {_last(done.stderr)} (room for it in {tempfile.gettempdir()}?)")
    spool.seek(0)
    return spool


def build(folder: str, name: str, arguments: dict[str, str], network: str) -> Image:
    """Builds `folder` under `name`, unless that is here already; gives the image."""
    wanted = digest(folder)
    here = find(name)
    if here is not None and sources_of(here) == wanted:
        return here
    words = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    words += ["--network", network] if network else []
    with tempfile.TemporaryFile() as context:
        write_context(folder, context)
        context.seek(0)
        command = ["docker", "build", "--tag", name, "--label", f"{LABEL}={wanted}", *words, "-"]
        try:
            done = subprocess.run(command, stdin=context, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        except OSError as error:
            raise DeliveryError(f"docker can't be run: {error.strerror}; say `images.stand_in: build`") from None
    made = find(name) if done.returncode == 0 else None
    if made is None:
        tail = "\n".join(done.stdout.decode("utf-8", "replace").splitlines()[-20:])
        raise DeliveryError(f"{name} can't be built of {Path(folder)}/ here:\n{tail}")
    return made


def _last(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"

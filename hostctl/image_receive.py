"""The verb `receive-image`: an image that the control machine pushes, or has built here, over its one connection.

A conversation on stdin and stdout, a line of JSON each:

    here  -> {"here": IMAGE or null, "layers": [[diff ids of an image] …], "users": [containers], "arch": "amd64"}
    there -> {"do": "load"}, then frames; or {"do": "build", …}, then frames; or {"do": "keep"}; or nothing: it gives up
    here  -> {"loaded": IMAGE} or {"refused": "why"}                       (after load; there speaks again)
    there -> {"do": "keep", "id": "sha256:…"}
    here  -> the verb's result

A frame is its length (4 bytes, most significant first) and that many bytes; an empty one ends the stream. What ends
without one was cut off: the daemon never sees its end and throws it away. A name is given to an image only once
all of it is here.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Tuple, cast

from hostctl import audit, console, images
from hostctl.console import say
from hostctl.context import Context
from hostctl.docker_api import DockerApi, DockerRefused
from hostctl.docker_stream import messages
from hostctl.errors import BadInput, HostctlError

LOADED = ("Loaded image ID: ", "Loaded image: ")
_STEP = re.compile(r"Step \d+/\d+ : (\w+)")
_MADE = re.compile(r" ---> ([0-9a-f]{12})$")
LONGEST_LINE = 1024 * 1024
_CONFIG = (
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
)


class CutOff(HostctlError):
    """The other side went away; nothing was changed."""


def receive(context: Context, name: str, image: str, observed: Optional[str]) -> Dict[str, Any]:
    """Talks until the image is here under its name, or the other side gives up; gives the verb's result."""
    began = time.monotonic()
    context.host()
    if "@" in image or ":" not in image.rpartition("/")[2]:
        raise BadInput("%r names no tag: an image that doesn't come from a registry has no digest there" % image)
    talk = _Talk(context, sys.stdin.buffer, image)
    outcome, identity = talk.run()
    record = images.remember(context, name, image, identity, outcome != "present", observed)
    audit.record(
        context.layout, "receive-image", name, outcome,
        image=image, id=record["id"], seconds=images.seconds_since(began),
    )  # fmt: skip
    say("%s: %s" % (image, outcome))
    return {"name": name, "image": image, "id": record["id"], "outcome": outcome}


class _Talk:
    def __init__(self, context: Context, source: BinaryIO, image: str) -> None:
        self._context = context
        self._source = source
        self._api = DockerApi()
        self._image = image
        self._loaded: Optional[str] = None

    def run(self) -> Tuple[str, str]:
        """What was done, and the image's id."""
        found = self._api.image(self._image)
        console.answer(
            {
                "here": _seen(found),
                "layers": _layers(self._api),
                "users": images.users(self._api, found["Id"]) if found else [],
                "arch": str(self._api.get("/version").get("Arch", "")),
            }
        )
        while True:
            order = self._order()
            if order["do"] == "load":
                self._load()
            elif order["do"] == "build":
                return "built", self._build(order)
            elif order["do"] == "keep":
                return self._keep(found, order)
            else:
                raise BadInput("%r is nothing that can be done with an image" % order["do"])

    def _order(self) -> Dict[str, Any]:
        line = self._source.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            self._throw_away()
            raise CutOff("%s: the other side ended; nothing was changed" % self._image)
        try:
            order = json.loads(line.decode("utf-8"))
        except ValueError:
            order = None
        if not isinstance(order, dict) or "do" not in order:
            raise BadInput("what came is no order")
        return cast("Dict[str, Any]", order)

    def _load(self) -> None:
        try:
            for message in messages(self._api, "/images/load", {"quiet": 1}, {}, self._frames()):
                self._note(str(message.get("stream", "")))
        except DockerRefused as error:
            self._loaded = None
            console.answer({"refused": str(error)})
            return
        found = self._api.image(self._loaded) if self._loaded else None
        if found is None:
            console.answer({"refused": "Docker loaded nothing"})
        else:
            console.answer({"loaded": _seen(found)})

    def _note(self, text: str) -> None:
        for sign in LOADED:
            if text.startswith(sign):
                self._loaded = text[len(sign) :].strip()

    def _build(self, order: Dict[str, Any]) -> str:
        query: Dict[str, Any] = {
            "t": self._image,
            "buildargs": json.dumps(order.get("arguments", {})),
            "labels": json.dumps(order.get("labels", {})),
            "rm": 1,
            "forcerm": 1,
        }
        if order.get("network"):
            query["networkmode"] = order["network"]
        stages, last = _Stages(), [""]
        try:
            for message in messages(self._api, "/build", query, {}, self._frames()):
                for line in filter(str.strip, str(message.get("stream", "")).splitlines()):
                    last = [*last[-19:], line]
                    stages.note(line)
                    if line.startswith("Step "):
                        say("  " + line)
        except DockerRefused as error:
            raise HostctlError("%s can't be built: %s\n%s" % (self._image, error, "\n".join(last))) from None
        finally:
            self._sweep(stages)
        found = self._api.image(self._image)
        if found is None:
            raise HostctlError("%s was built, and is not here:\n%s" % (self._image, "\n".join(last)))
        return str(found["Id"])

    def _sweep(self, stages: "_Stages") -> None:
        """What a build leaves behind without a name: hundreds of megabytes that nobody would miss."""
        for identity in filter(None, stages.made):
            found = self._api.image(identity)
            if found is not None and not found.get("RepoTags"):
                images.untag(self._api, identity)

    def _keep(self, found: Optional[Dict[str, Any]], order: Dict[str, Any]) -> Tuple[str, str]:
        identity = order.get("id")
        if identity is None:
            if found is None:
                raise BadInput("there is no %s to keep" % self._image)
            return "present", str(found["Id"])
        if self._api.image(str(identity)) is None:
            raise HostctlError("%s is gone again: does something prune images here?" % identity)
        images.tag(self._api, str(identity), self._image)
        return "pushed", str(identity)

    def _frames(self) -> Iterator[bytes]:
        while True:
            size = int.from_bytes(self._exactly(4), "big")
            if not size:
                return
            yield self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size or self._context.signals.stopped():
            raise CutOff("%s: cut off before all of it was here; nothing was changed" % self._image)
        return data

    def _throw_away(self) -> None:
        """What was loaded and not accepted: it has no name."""
        if self._loaded is not None:
            images.untag(self._api, self._loaded)


class _Stages:
    """The last image of each stage of a build, as its output tells; none that was there before (from the cache)."""

    def __init__(self) -> None:
        self.made: List[str] = []
        self._cached = False

    def note(self, line: str) -> None:
        """One line of the output."""
        step = _STEP.match(line)
        made = _MADE.match(line)
        if step:
            self._cached = False
            if step.group(1) == "FROM":
                self.made.append("")  # the next stage's; the base itself is nobody's to take away
                self._cached = True
        elif line.strip() == "---> Using cache":
            self._cached = True
            self.made[-1:] = [""]
        elif made and not self._cached:
            self.made[-1:] = [made.group(1)]


def _layers(api: DockerApi) -> List[List[str]]:
    """The diff ids of every image on this host, bottom first: what needs no sending."""
    found = [api.image(str(one["Id"])) for one in api.get("/images/json")]
    return [_diff_ids(one) for one in found if one is not None]


def _diff_ids(found: Dict[str, Any]) -> List[str]:
    return cast("Dict[str, List[str]]", found.get("RootFS") or {}).get("Layers") or []


def _seen(found: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """What tells an image from another one: two kinds of Docker's stores give the same image different ids."""
    if found is None:
        return None
    config = cast("Dict[str, Any]", found.get("Config") or {})
    return {
        "id": found["Id"],
        "created": found.get("Created"),
        "arch": found.get("Architecture"),
        "layers": _diff_ids(found),
        "config": {key: config[key] for key in _CONFIG if config.get(key)},
    }

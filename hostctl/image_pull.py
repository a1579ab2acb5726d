"""The verb `image`: one from its registry, through a mirror first where there is one, by digest where it is pinned."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Dict, List, NamedTuple, Optional, cast

from hostctl import audit, images
from hostctl.console import say
from hostctl.context import Context
from hostctl.docker_api import DockerApi, DockerMissing, DockerRefused
from hostctl.docker_stream import messages
from hostctl.errors import HostctlError, Interrupted
from hostctl.forms import ImageDefinition
from hostctl.launch import REGISTRY
from hostctl.redact import read_secrets, redact

HUB = "docker.io"
SAY_EVERY_SECONDS = 10.0


class Reference(NamedTuple):
    """An image's name in its parts."""

    repository: str  # with its registry, as it is written
    tag: str
    digest: str  # sha256:… or ""

    @property
    def version(self) -> str:
        """What a pull asks for; a digest says more than a tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.repository + ("@" + self.digest if self.digest else ":" + self.tag)


def parse(image: str) -> Reference:
    """The parts of `registry/folder/name:tag@sha256:…`."""
    name, _, digest = image.partition("@")
    folder, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return Reference(folder + slash + last, tag or ("" if digest else "latest"), digest)


def at_mirror(reference: Reference, mirror: str) -> Reference:
    """The same image as a mirror of Docker Hub has it: what Docker names `redis` is `library/redis` there."""
    first, slash, rest = reference.repository.partition("/")
    path = rest if slash and first == HUB else reference.repository
    return reference._replace(repository="%s/%s" % (mirror, path if "/" in path else "library/" + path))


def bring(context: Context, definition: ImageDefinition, observed: Optional[str]) -> Dict[str, Any]:
    """Makes sure that the image is on this host; what is here already is not asked for again."""
    began = time.monotonic()
    context.host()
    run_as, api = definition["run_as"], DockerApi()
    found, outcome = api.image(run_as), "present"
    if found is None:
        found, outcome = _Pull(context, api, definition).run(), "pulled"
    record = images.remember(context, definition["name"], run_as, found["Id"], outcome != "present", observed)
    seconds = images.seconds_since(began)
    audit.record(context.layout, "image", definition["name"], outcome, image=run_as, id=record["id"], seconds=seconds)
    say("%s: %s" % (run_as, outcome))
    return {"name": definition["name"], "image": run_as, "id": record["id"], "outcome": outcome}


class _Pull:
    def __init__(self, context: Context, api: DockerApi, definition: ImageDefinition) -> None:
        self._context = context
        self._api = api
        self._definition = definition
        self._wanted = parse(definition["image"])
        self._password = read_secrets(context.layout, REGISTRY).get("PASSWORD")
        self._next_word = time.monotonic() + SAY_EVERY_SECONDS

    def run(self) -> Dict[str, Any]:
        """Pulls it and gives what Docker says of it; nothing is changed when it can't."""
        headers = self._login()
        mirror = self._definition["mirror"]
        if mirror:
            there = at_mirror(self._wanted, mirror)
            try:
                self._pull(there, {})
            except HostctlError as error:
                if isinstance(error, (DockerMissing, Interrupted)):
                    raise
                say("warning: the mirror %s doesn't give it (%s); asking the registry itself" % (mirror, error))
            else:
                return self._named(there, True)
        self._pull(self._wanted, headers)
        return self._named(self._wanted, False)

    def _login(self) -> Dict[str, str]:
        login = self._definition["login"]
        if login is None:
            return {}
        if self._password is None:
            message = "%s: the password of %s at %s is not on this host; set it as secrets.registry"
            raise HostctlError(message % (self._definition["image"], login["user"], login["server"]))
        server = "https://index.docker.io/v1/" if login["server"] == HUB else login["server"]
        told = {"username": login["user"], "password": self._password, "serveraddress": server}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(told).encode("utf-8")).decode("ascii")}

    def _pull(self, what: Reference, headers: Dict[str, str]) -> None:
        query = {"fromImage": what.repository, "tag": what.version}
        say("pulling %s" % str(what))
        try:
            for message in messages(self._api, "/images/create", query, headers):
                if self._context.signals.stopped():
                    raise Interrupted("%s: asked to stop while pulling; nothing was changed" % str(what))
                self._word(message)
        except DockerRefused as error:
            text = redact(str(error), [self._password] if self._password else [])
            raise HostctlError("%s: %s" % (what, why(text, self._definition["login"] is not None))) from None

    def _word(self, message: Dict[str, Any]) -> None:
        if time.monotonic() >= self._next_word and message.get("status"):
            say("  %s %s %s" % (message.get("id", ""), message["status"], message.get("progress", "")))
            self._next_word = time.monotonic() + SAY_EVERY_SECONDS

    def _named(self, pulled: Reference, from_mirror: bool) -> Dict[str, Any]:
        """The image under the name that containers use; proved to be the pinned one."""
        found = self._api.image(str(pulled))
        if found is None:
            raise HostctlError("%s was pulled, and is gone again: does something prune images here?" % str(pulled))
        digests = [one.rpartition("@")[2] for one in _strings(found, "RepoDigests")]
        if self._wanted.digest and self._wanted.digest not in digests:
            raise HostctlError("%s is another image than the pinned one: %s" % (pulled, ", ".join(digests) or "none"))
        run_as = self._definition["run_as"]
        if "@" not in run_as and str(pulled) != run_as:
            images.tag(self._api, found["Id"], run_as)
        if from_mirror:
            for name in _names_of(found, pulled.repository):
                images.untag(self._api, name)
        named = self._api.image(run_as)
        if named is None or named["Id"] != found["Id"]:
            raise HostctlError("%s can't be found under the name %s" % (pulled, run_as))
        return named


def _names_of(found: Dict[str, Any], repository: str) -> List[str]:
    names = _strings(found, "RepoTags") + _strings(found, "RepoDigests")
    return [name for name in names if parse(name).repository == repository]


def _strings(found: Dict[str, Any], key: str) -> List[str]:
    return cast("List[str]", found.get(key) or [])


_REASONS = (
    (("no space left",), "the host's disk is full"),
    (("manifest unknown", "not found", "name unknown"), "it isn't there; push it, or name one that is there"),
    (("unauthorized", "no basic auth", "incorrect username", "authentication required"), ""),
    (("denied",), ""),
    (
        ("dial tcp", "no such host", "timeout", "connection refused", "deadline exceeded", "eof", "tls:", "x509"),
        "the registry can't be reached",
    ),
)


def why(message: str, with_login: bool) -> str:
    """What a refused pull means, with Docker's own words behind it."""
    text = message.lower()
    if "denied" in text and "does not exist" in text:
        reason = "it isn't there, or it needs a login"
        return "%s (%s)" % (reason + _login_cure(with_login), message)
    for signs, reason in _REASONS:
        if any(sign in text for sign in signs):
            return "%s (%s)" % (reason or "the registry refuses the login" + _login_cure(with_login), message)
    return message


def _login_cure(with_login: bool) -> str:
    return ": see images.login and secrets.registry" if with_login else ": set images.login and secrets.registry"

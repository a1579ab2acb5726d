"""When an image is the same, and when it must not be sent."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from imagetool import deliver, local
from imagetool.errors import DeliveryError
from imagetool.sources import EDGE, STAND_IN, digest, image_of
from tests.plan.stacks import ROOT

IMAGE: local.Image = {
    "id": f"sha256:{'a' * 64}",
    "created": "2026-01-01T00:00:00Z",
    "arch": "amd64",
    "layers": ["sha256:1", "sha256:2"],
    "config": {"Env": ["A=1"], "Labels": {"blockchain-dao.sources": "abc"}},
}


def other(**changes: Any) -> local.Image:
    return copy.deepcopy(IMAGE) | {"id": f"sha256:{'b' * 64}"} | changes


def test_the_same_image_in_another_kind_of_store_is_the_same() -> None:
    assert local.same(IMAGE, copy.deepcopy(IMAGE))
    assert local.same(IMAGE, other())


@pytest.mark.parametrize(
    "changes",
    [{"layers": ["sha256:1"]}, {"created": "2026-01-02T00:00:00Z"}, {"config": {"Env": ["A=2"]}}, {"layers": []}],
)
def test_another_image_is_another(changes: dict[str, Any]) -> None:
    assert not local.same(IMAGE, other(**changes))
    assert not local.same(other(layers=[]), IMAGE | {"layers": []})


def test_what_an_image_says_of_its_sources() -> None:
    assert local.sources_of(IMAGE) == "abc"
    assert local.sources_of(other(config={})) == ""
    assert local.sources_of(other(config={"Labels": None})) == ""
    assert local.sources_of(None) == ""


def told(build: object = None) -> dict[str, Any]:
    return {"run_as": "app:1", "host": {"address": "192.0.2.7"}, "build": build}


def hello(**changes: Any) -> dict[str, Any]:
    return {"here": None, "users": [], "arch": "amd64"} | changes


def test_an_image_for_another_processor_is_refused_with_the_cure() -> None:  # a MacBook's are arm64
    with pytest.raises(DeliveryError) as error:
        deliver.require_fit(told(), hello(), other(arch="arm64"))
    assert str(error.value) == (
        "app:1 is built for arm64, and 192.0.2.7 is amd64; build it with `docker build --platform linux/amd64`"
    )
    with pytest.raises(DeliveryError, match=r"say `images\.stand_in: build`"):
        deliver.require_fit(told({"folder": "image"}), hello(), other(arch="arm64"))
    deliver.require_fit(told(), hello(arch="x86_64"), other())  # two words for one


def test_only_a_version_that_something_runs_must_stay() -> None:
    deliver.require_fit(told(), hello(here=other(layers=[])), IMAGE)
    with pytest.raises(DeliveryError, match="a version must stay what it is"):
        deliver.require_fit(told(), hello(here=other(layers=[]), users=["identity"]), IMAGE)


@pytest.mark.parametrize(("folder", "repository"), [("image", STAND_IN), ("edge", EDGE)])
def test_a_folder_must_be_as_it_was_when_its_image_was_named(
    folder: str, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    named = image_of(folder, repository)
    deliver.require_sources(folder, named)
    other = named[:-1] + ("0" if named[-1] != "0" else "1")
    wrong = f"{folder}/ changed while this ran ({other} was planned, it is {named} now): run it again"
    with pytest.raises(DeliveryError, match=f"^{re.escape(wrong)}$"):
        deliver.require_sources(folder, other)


class Talk:
    """A server that answers one line after the other, and keeps what it was told."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.told = list(answers), list[Any]()

    def hear(self) -> dict[str, Any]:
        return self.answers.pop(0)

    def say(self, order: dict[str, Any]) -> None:
        self.told.append(order)

    def send(self, write: Any) -> int:
        with Path("context.tar").open("wb") as out:
            write(out)
        self.told.append(Path("context.tar").read_bytes())
        return 1


def test_a_server_builds_the_folder_of_the_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()
    Path("own/VERSION").write_text("3\n")
    Path("own/Dockerfile").write_text("FROM scratch\n")
    delivery = told({"folder": "own", "arguments": {"BASE": "debian:12"}, "network": "host"})
    delivery["run_as"] = image_of("own", "r.example:5000/team/own")
    server: Any = Talk(hello(), {"outcome": "built"})
    assert deliver.build(delivery, server) == {"outcome": "built"}
    order, sent = server.told
    assert order["labels"] == {"blockchain-dao.sources": digest("own")}
    assert (order["do"], order["arguments"], order["network"]) == ("build", {"BASE": "debian:12"}, "host")
    assert b"FROM scratch" in sent
    # The same sources there already: nothing is built.
    there = other(config={"Labels": order["labels"]})
    server = Talk(hello(here=there), {"outcome": "present"})
    assert deliver.build(delivery, server) == {"outcome": "present"}
    assert server.told == [{"do": "keep"}]

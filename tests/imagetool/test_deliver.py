"""When an image is the same, and when it must not be sent."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from imagetool import deliver, local
from imagetool.errors import DeliveryError

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

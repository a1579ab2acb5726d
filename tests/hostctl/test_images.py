"""Images on a host: names, what a refusal means, definitions (what Docker really does: tests/host/test_images.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostctl import images
from hostctl.context import Context
from hostctl.definitions import parse_image
from hostctl.errors import BadInput
from hostctl.image_pull import at_mirror, parse, why

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("redis:7", ("redis", "7", "")),
        ("team/app:1.4.2", ("team/app", "1.4.2", "")),
        ("registry.example:5000/team/app:1", ("registry.example:5000/team/app", "1", "")),
        (f"registry.example:5000/app:1@{DIGEST}", ("registry.example:5000/app", "1", DIGEST)),
        (f"app@{DIGEST}", ("app", "", DIGEST)),
    ],
)
def test_a_name_in_its_parts(image: str, parts: tuple[str, str, str]) -> None:
    assert parse(image) == parts
    # A digest says all: with one, Docker takes no tag.
    assert str(parse(image)) == (f"{parts[0]}@{DIGEST}" if parts[2] else image)


@pytest.mark.parametrize(
    ("image", "there"),
    [
        ("redis:7", "mirror.example/library/redis:7"),
        ("team/app:1", "mirror.example/team/app:1"),
        ("docker.io/redis:7", "mirror.example/library/redis:7"),
        ("docker.io/team/app:1", "mirror.example/team/app:1"),
        (f"redis:7@{DIGEST}", f"mirror.example/library/redis@{DIGEST}"),
    ],
)
def test_what_a_mirror_calls_it(image: str, there: str) -> None:
    assert str(at_mirror(parse(image), "mirror.example")) == there


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("write /var/lib/docker/tmp/x: no space left on device", "the host's disk is full"),
        ("manifest for app:9 not found: manifest unknown: manifest unknown", "it isn't there; push it"),
        ('Head "https://r/v2/app": unauthorized: authentication required', "refuses the login: see images.login"),
        ("Get https://r/v2/: no basic auth credentials", "refuses the login"),
        ("pull access denied for a/b, repository does not exist or may require 'docker login'", "it isn't there, or"),
        ("denied: requested access to the resource is denied", "refuses the login"),
        ("Get https://r/v2/: dial tcp: lookup r: no such host", "can't be reached"),
        ("Get https://r/v2/: net/http: request canceled (Client.Timeout exceeded)", "can't be reached"),
        ("toomanyrequests: slow down", "toomanyrequests: slow down"),
    ],
)
def test_what_a_refused_pull_means(said: str, meaning: str) -> None:
    text = why(said, True)
    assert meaning in text
    assert said in text  # Docker's own words too


@pytest.fixture
def context(tmp_path: Path) -> Context:
    made = Context(str(tmp_path / "root"), "test")
    made.layout.make()
    return made


def remember(context: Context, name: str, image: str, brought: bool) -> bool:
    """Whether it is ours then."""
    return images.remember(context, name, image, f"sha256:{image}", brought, None)["ours"]


def test_what_we_brought_is_ours_under_another_name_too(context: Context) -> None:
    """The plan may name it otherwise, for example when a second image of its repository comes."""
    assert remember(context, "app", "team/app:1", brought=True)
    assert remember(context, "app--identity-service", "team/app:1", brought=False)
    assert not remember(context, "theirs", "other/app:1", brought=False)
    assert not remember(context, "theirs--identity-service", "other/app:1", brought=False)


def test_a_way_back_to_what_we_brought_keeps_it_ours(context: Context) -> None:
    assert remember(context, "app", "team/app:1", brought=True)
    assert remember(context, "app", "team/app:2", brought=True)
    assert remember(context, "app", "team/app:1", brought=False)


def test_a_name_that_is_another_image_by_now_is_somebody_elses(context: Context) -> None:
    assert remember(context, "app", "team/app:1", brought=True)
    assert not images.remember(context, "app", "team/app:1", "sha256:other", False, None)["ours"]


def definition(**changes: Any) -> bytes:
    whole: dict[str, Any] = {"schema": 1, "kind": "image", "name": "app", "image": "app:1"}
    return json.dumps(whole | changes).encode()


def test_what_a_definition_may_leave_out() -> None:
    assert parse_image(definition(), "app") == {
        "schema": 1,
        "kind": "image",
        "name": "app",
        "image": "app:1",
        "run_as": "app:1",
        "mirror": "",
        "login": None,
    }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image": "-app"}, "image is '-app': it must look like registry.example/name:1.4.2"),
        ({"image": "a b"}, "image is 'a b'"),
        ({"kind": "service"}, "kind is 'service'; it must be 'image'"),
        ({"name": "other"}, "its name is 'other', but the verb says 'app'"),
        ({"login": {"server": "r"}}, "login.user is missing"),
        ({"login": {"server": "r", "user": "u", "password": "hunter2"}}, "login.password is unknown"),
        ({"mirrors": "x"}, "mirrors is unknown (did you mean mirror?)"),
    ],
)
def test_a_wrong_definition_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_image(definition(**changes), "app")
    assert problem in str(error.value)
    assert "hunter2" not in str(error.value)

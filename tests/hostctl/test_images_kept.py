"""Which images stay on a host: what a service runs with, what a rollback would start, and one former version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostctl import images
from hostctl.context import Context
from hostctl.definitions import parse_service
from hostctl.docker_api import DockerRefused
from tests.hostctl import samples
from tests.hostctl.fake_docker import FakeDocker

NAME = "identity-service"


class Docker(FakeDocker):
    """Images come and go."""

    def bring(self, *names: str) -> None:
        self.images.update({name: {"Id": f"sha256:{name}"} for name in names})

    def delete(self, path: str, **query: Any) -> None:
        if not path.startswith("/images/"):
            return super().delete(path, **query)
        if self.images.pop(path[len("/images/") :], None) is None:
            raise DockerRefused(404, "no such image")
        return None


class Host:
    """Images that are brought, and a service that is started with them."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.context = Context(str(root), "test")
        self.context.layout.make()
        self.docker = Docker()
        patch.setattr(images, "DockerApi", lambda: self.docker)

    def bring(self, version: int, name: str = "app", repository: str = "team/app") -> None:
        image = f"{repository}:{version}"
        new = image not in self.docker.images
        self.docker.bring(image)
        images.remember(self.context, name, image, f"sha256:{image}", new, None)

    def up(self, version: int, repository: str = "team/app", good: bool = True) -> None:
        launch = samples.container(f"{repository}:{version}")
        value = samples.service(NAME, launch=launch, digest=f"{version:06x}")
        store = self.context.store
        store.begin(parse_service(samples.raw(value), NAME), self.context.me, "")
        if good:
            store.commit(NAME, None)
        else:
            store.abandon(NAME)

    def here(self) -> list[str]:
        return sorted(self.docker.images)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path / "root", monkeypatch)


def test_older_ones_go(host: Host) -> None:
    for version in (1, 2, 3, 4):
        host.bring(version)
        host.up(version)
    # When 4 came, 3 served and would have gone back to 2.
    assert host.here() == ["team/app:2", "team/app:3", "team/app:4"]
    host.bring(5)
    assert host.here() == ["team/app:3", "team/app:4", "team/app:5"]
    host.context.store.forget(NAME)
    host.bring(6)
    assert host.here() == ["team/app:5", "team/app:6"]


def test_what_a_rollback_needs_stays_however_many_came_since(host: Host) -> None:
    host.bring(1)
    host.up(1)
    host.bring(2)
    host.up(2)
    for version in (3, 4, 5):  # none of them becomes healthy
        host.bring(version)
        host.up(version, good=False)
    assert host.here() == ["team/app:1", "team/app:2", "team/app:4", "team/app:5"]
    host.up(5)
    host.bring(6)
    host.up(6)
    assert host.here() == ["team/app:2", "team/app:5", "team/app:6"]  # 2 was what 5 would have gone back to
    host.bring(7)
    assert host.here() == ["team/app:5", "team/app:6", "team/app:7"]


def test_the_image_of_a_service_that_went_back_stays(host: Host) -> None:
    for version in (1, 2):
        host.bring(version)
        host.up(version)
    host.up(1)  # as `rollback` does it
    host.bring(3)
    host.bring(4)
    assert set(host.here()) >= {"team/app:1", "team/app:2", "team/app:4"}
    host.up(4)
    host.bring(5)
    host.up(5)
    host.bring(6)
    assert host.here() == ["team/app:4", "team/app:5", "team/app:6"]


def test_an_image_that_is_forgotten_stays_for_the_rollback_and_no_longer(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service gets its image from somewhere else: the plan has no `app` any more."""
    host.bring(1)
    host.up(1)
    host.bring(9, "stand-in", "other")
    host.up(9, "other")
    assert images.forget(host.context, "app") == {"name": "app", "outcome": "kept", "removed": []}
    assert "team/app:1 stays: a service runs with it, or would after a rollback" in capsys.readouterr().err
    assert host.here() == ["other:9", "team/app:1"]
    assert list(images.labels(host.context)) == ["stand-in"]
    assert images.forget(host.context, "app")["outcome"] == "absent"
    host.bring(10, "stand-in", "other")
    assert "team/app:1" in host.here()
    host.up(10, "other")
    host.bring(11, "stand-in", "other")
    assert host.here() == ["other:10", "other:11", "other:9"]
    assert [path.name for path in (host.context.layout.state / "images").iterdir()] == ["stand-in.json"]


def test_an_image_that_comes_back_is_ours_again(host: Host) -> None:
    host.bring(1)
    host.up(1)
    images.forget(host.context, "app")
    host.bring(1)
    assert list(images.labels(host.context)) == ["app"]
    host.context.store.forget(NAME)
    assert images.forget(host.context, "app")["removed"] == ["team/app:1"]
    assert host.here() == []


def test_an_image_of_the_same_name_that_comes_from_elsewhere_now_keeps_its_record(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """`edge.image: team/edge:2` in the place of the edge that is built: the new one comes, then the old one goes."""
    host.bring(1, "edge", "blockchain-dao/edge")
    host.up(1, "blockchain-dao/edge")
    host.bring(2, "edge", "team/edge")
    host.up(2, "team/edge")
    assert images.forget(host.context, "edge", "blockchain-dao/edge:1")["outcome"] == "replaced"
    assert "edge is team/edge:2 by now, and stays" in capsys.readouterr().err
    assert list(images.labels(host.context)) == ["edge"]
    assert host.here() == ["blockchain-dao/edge:1", "team/edge:2"]  # a rollback needs the first
    host.context.store.forget(NAME)
    assert images.forget(host.context, "edge", "team/edge:2")["removed"] == ["blockchain-dao/edge:1", "team/edge:2"]
    assert host.here() == []


def test_when_all_services_are_gone_so_is_what_was_brought(host: Host) -> None:
    """As `destroy` does it: services first, then images, in any order of theirs."""
    host.bring(1)
    host.up(1)
    host.bring(2, "later")
    host.up(2)
    images.forget(host.context, "app")
    host.context.store.forget(NAME)
    images.forget(host.context, "later")
    assert host.here() == []
    assert list((host.context.layout.state / "images").iterdir()) == []


@given(st.lists(st.tuples(st.sampled_from(["good", "sick", "back", "only"]), st.integers(1, 4)), max_size=14))
@settings(deadline=None, max_examples=60)
def test_whatever_comes_a_service_and_its_rollback_have_their_images(
    tmp_path_factory: pytest.TempPathFactory, doings: list[tuple[str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        host = Host(tmp_path_factory.mktemp("images") / "root", patch)
        for doing, version in doings:
            previous = host.context.store.previous(NAME)
            if doing == "back":
                if previous is not None:
                    image = previous["definition"]["launch"]["image"]
                    assert image in host.here(), doings
                    host.up(int(image.split(":")[1]))
                continue
            host.bring(version)
            if doing != "only":
                host.up(version, good=doing == "good")
            assert host.context.store.images() <= set(host.here()), doings
            assert len(host.here()) <= 4  # of it, one former; what serves; what it would go back to

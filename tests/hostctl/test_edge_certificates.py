"""The folder of the team's certificates, looked at before anything is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hostctl import edge_certificates
from hostctl.definitions import parse_service
from hostctl.forms import ServiceDefinition
from tests.hostctl import samples

RIGHT = "; it must hold PEM files (NAME.pem: the chain, then the key) that belong to root, mode 0600"


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests stands for root."""
    monkeypatch.setattr(edge_certificates, "HAPROXYS_USER", os.getuid())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tls"
    made.mkdir(mode=0o700)
    return made


def edge(certificates: str) -> ServiceDefinition:
    value: dict[str, Any] = samples.service("edge", 8419, launch=samples.container()) | {
        "proxy": samples.proxy(certificates=certificates),
        "files": {"edge/haproxy.cfg": {"mode": "0644"}},
    }
    return parse_service(samples.raw(value), "edge")


def put(path: Path, text: str = "chain, key\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def told(folder: Path) -> str:
    """What is wrong with it, without where and what would be right."""
    said = edge_certificates.problem(edge(str(folder)))
    if not said:
        return ""
    start = f"edge.certificates: {folder} on this server "
    assert said.startswith(start)
    assert said.endswith(RIGHT)
    return said[len(start) : -len(RIGHT)]


def test_nothing_to_look_at() -> None:
    assert edge_certificates.problem(edge("")) == ""
    assert edge_certificates.problem(parse_service(samples.raw(samples.service()), "identity-service")) == ""


def test_one_that_root_may_read_is_enough(folder: Path) -> None:
    put(folder / "a.pem", mode=0)
    put(folder / "b.pem")
    assert told(folder) == ""


def test_a_folder_that_is_missing_is_named_and_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert told(folder) == "does not exist"
    assert not folder.exists()
    assert told(put(tmp_path / "file")) == "is not a folder"


def test_a_folder_without_a_certificate(folder: Path) -> None:
    assert told(folder) == "has no file *.pem"
    put(folder / "fullchain.crt")
    assert told(folder) == "has no file *.pem"


def test_files_that_haproxy_could_not_read(folder: Path) -> None:
    put(folder / "a.pem", mode=0)
    put(folder / "b.pem", text="")
    (folder / "c.pem").mkdir()
    mode = f"user {os.getuid()}, mode 0000"
    assert told(folder) == (
        f"has no certificate that the edge could read: a.pem is not root's to read ({mode}); "
        "b.pem is empty; c.pem is no file"
    )


def test_another_users_file_is_not_roots_to_read_without_its_capabilities(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "a.pem")
    folder.chmod(0o755)
    monkeypatch.setattr(edge_certificates, "HAPROXYS_USER", os.getuid() + 1)
    monkeypatch.setattr(edge_certificates, "HAPROXYS_GROUP", os.getgid() + 1)
    assert told(folder).startswith("has no certificate that the edge could read: a.pem is not root's to read (user ")
    (folder / "a.pem").chmod(0o644)
    assert told(folder) == ""
    folder.chmod(0o700)
    assert told(folder).startswith("is a folder that root may not enter by its mode alone (user ")
    monkeypatch.setattr(edge_certificates, "HAPROXYS_GROUP", os.getgid())
    folder.chmod(0o750)
    assert told(folder) == ""


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_out_of_the_folder_leads_nowhere_in_the_container(folder: Path, absolute: bool) -> None:
    """As certbot's `live/` has them."""
    archive = put(folder.parent / "archive.pem")
    (folder / "a.pem").symlink_to(archive if absolute else "../archive.pem")
    assert told(folder) == (
        f"has no certificate that the edge could read: a.pem points to {archive}, "
        "and the edge has this folder only (copy the file)"
    )


def test_a_link_inside_of_the_folder_is_one_of_its_files(folder: Path) -> None:
    put(folder / "2026-11")
    (folder / "a.pem").symlink_to("2026-11")
    assert told(folder) == ""
    (folder / "a.pem").unlink()
    (folder / "a.pem").symlink_to(folder / "2026-11")  # absolute: not its name in the container
    assert "points to" in told(folder)
    (folder / "a.pem").unlink()
    (folder / "a.pem").symlink_to("nothing")
    assert told(folder) == "has no certificate that the edge could read: a.pem: No such file or directory"

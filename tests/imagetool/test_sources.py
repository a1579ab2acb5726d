"""The stand-in's name tells its sources (D13)."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imagetool.sources import digest, stand_in_image, write_context
from plan.catalog import STAND_IN_IMAGE
from plan.semantic import repository
from tests.plan.stacks import ROOT, plan_of

IMAGE = ROOT / "image"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(IMAGE, tmp_path / "image", ignore=shutil.ignore_patterns("__pycache__")))


def context(folder: Path) -> bytes:
    out = io.BytesIO()
    write_context(folder, out)
    return out.getvalue()


def test_the_name_has_the_version_and_twelve_digits() -> None:
    name = stand_in_image(IMAGE)
    assert re.fullmatch(rf"{re.escape(STAND_IN_IMAGE)}-[0-9a-f]{{12}}", name)
    assert name.endswith(digest(IMAGE)[:12])
    assert repository(name) == repository(STAND_IN_IMAGE)


def append(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n")

    return change


def rename(folder: Path) -> None:
    (folder / "standin/errors.py").rename(folder / "standin/mistakes.py")


def make_runnable(folder: Path) -> None:
    (folder / "standin/errors.py").chmod(0o755)


@pytest.mark.parametrize(
    "change",
    [
        *map(
            append, ["standin/app.py", "standin/new.py", "Dockerfile", "requirements.txt", "export_data.sh", "VERSION"]
        ),
        rename,
        make_runnable,
    ],
)
def test_it_changes_with_its_sources(copy: Path, change: Callable[[Path], None]) -> None:
    before = digest(copy)
    assert before == digest(IMAGE)
    change(copy)
    assert digest(copy) != before


def pyc(folder: Path) -> None:
    (folder / "standin/__pycache__").mkdir(exist_ok=True)
    (folder / "standin/__pycache__/app.cpython-311.pyc").write_bytes(b"x")


def dates(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def mask(folder: Path) -> None:
    for path in folder.rglob("*.py"):
        path.chmod(path.stat().st_mode & 0o700)


STRAYS = [".DS_Store", "standin/.DS_Store", "standin/app.py~", "standin/._app.py", "standin/notes.txt", "VERSION.orig"]


@pytest.mark.parametrize("change", [*map(append, ["company-ca.crt", "README.md", *STRAYS]), pyc, dates, mask])
def test_it_stays_with_everything_else(copy: Path, change: Callable[[Path], None]) -> None:
    before, bytes_before = digest(copy), context(copy)
    change(copy)
    assert digest(copy) == before
    if not (copy / "company-ca.crt").exists():
        assert context(copy) == bytes_before


def test_the_context_has_what_the_dockerfile_copies(copy: Path) -> None:
    (copy / "company-ca.crt").write_text("-----BEGIN")
    with tarfile.open(fileobj=io.BytesIO(context(copy))) as archive:
        names = archive.getnames()
        assert {"Dockerfile", "VERSION", "requirements.txt", "company-ca.crt", "standin/app.py"} <= set(names)
        assert names == sorted(names)
        assert not any("__pycache__" in name or name.endswith(".md") for name in names)
        assert archive.getmember("export_data.sh").mode == 0o755
        assert {(one.uid, one.gid, one.uname, one.mtime) for one in archive.getmembers()} == {(0, 0, "", 315532800)}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (IMAGE / "Dockerfile").read_text(), re.MULTILINE)
    for word in " ".join(copied).split():
        wanted = word.replace("[t]", "t")
        assert any(name == wanted or name.startswith(f"{wanted}/") for name in names), word


def test_every_file_of_git_that_the_dockerfile_copies_is_a_source() -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=IMAGE, capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.split("\0")) - {""}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (IMAGE / "Dockerfile").read_text(), re.MULTILINE)
    words = tuple(" ".join(copied).split())
    wanted = {"Dockerfile"} | {
        name for name in tracked if name in words or name.startswith(tuple(f"{w}/" for w in words))
    }
    with tarfile.open(fileobj=io.BytesIO(context(IMAGE))) as archive:
        assert set(archive.getnames()) - {"company-ca.crt"} == wanted


def test_a_build_by_hand_gets_the_same_files() -> None:
    lines = (IMAGE / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    with tarfile.open(fileobj=io.BytesIO(context(IMAGE))) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} <= let_in | {"Dockerfile"}


def test_a_laptops_plan_keeps_the_plain_name() -> None:
    assert {service.image for service in plan_of("local").services} == {STAND_IN_IMAGE}

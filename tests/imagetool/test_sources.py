"""The names of what is built here tell its sources: the stand-in (D13) and the edge."""

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

from imagetool.sources import EDGE, STAND_IN, digest, edge_image, image_of, stand_in_image, write_context
from plan.catalog import STAND_IN_IMAGE
from plan.semantic import repository
from tests.plan.stacks import ROOT, plan_of

IMAGE, EDGES = ROOT / "image", ROOT / "edge"
FOLDERS = pytest.mark.parametrize("folder", [IMAGE, EDGES], ids=["image", "edge"])


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
    assert repository(name) == repository(STAND_IN_IMAGE) == STAND_IN


def test_the_edges_name_is_made_in_the_same_way() -> None:
    version = (EDGES / "VERSION").read_text().strip()
    assert edge_image(EDGES) == f"{EDGE}:{version}-{digest(EDGES)[:12]}"
    assert edge_image(EDGES) == image_of(EDGES, EDGE)
    assert digest(EDGES) != digest(IMAGE)


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


@FOLDERS
def test_every_file_of_git_that_the_dockerfile_copies_is_a_source(folder: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.split("\0")) - {""}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (folder / "Dockerfile").read_text(), re.MULTILINE)
    words = tuple(" ".join(copied).split())
    wanted = {"Dockerfile", "VERSION"} | {
        name for name in tracked if name in words or name.startswith(tuple(f"{w}/" for w in words))
    }
    with tarfile.open(fileobj=io.BytesIO(context(folder))) as archive:
        assert set(archive.getnames()) - {"company-ca.crt"} == wanted


@FOLDERS
def test_a_build_by_hand_gets_the_same_files(folder: Path) -> None:
    lines = (folder / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    needed = {"Dockerfile"} | ({"VERSION"} if folder == EDGES else set())  # the edge's tells its tag only
    with tarfile.open(fileobj=io.BytesIO(context(folder))) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} <= let_in | needed


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("COPY one.txt /x", {"one.txt"}),
        ("COPY --chmod=0755 one.txt two.txt /x/", {"one.txt", "two.txt"}),
        ("COPY one.txt \\\n     two.txt /x/", {"one.txt", "two.txt"}),
        ("COPY code /x", {"code/a.py", "code/deep/b.py"}),
        ("COPY --from=build one.txt /x", set()),
        ("COPY company-ca.crt company-ca.cr[t] o*.txt ?ne.txt nowhere /x/", set()),
        ("# COPY one.txt /x\nRUN echo COPY one.txt /x", set()),
    ],
)
def test_a_source_is_what_the_dockerfile_copies_by_name(tmp_path: Path, line: str, named: set[str]) -> None:
    (tmp_path / "code/deep").mkdir(parents=True)
    for name in ("one.txt", "two.txt", "code/a.py", "code/deep/b.py", "code/.c.py", "code/notes.txt", "VERSION"):
        (tmp_path / name).write_text(name)
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\n{line}\n")
    with tarfile.open(fileobj=io.BytesIO(context(tmp_path))) as archive:
        assert set(archive.getnames()) == {"Dockerfile", "VERSION"} | named
    before = digest(tmp_path)
    for name in {"one.txt", "two.txt", "code/a.py", "code/deep/b.py", "code/.c.py", "code/notes.txt"}:
        (tmp_path / name).write_text("changed")
        assert (digest(tmp_path) != before) == (name in named), name
        (tmp_path / name).write_text(name)


@pytest.mark.parametrize("missing", ["Dockerfile", "VERSION"])
def test_a_folder_without_one_of_the_two_is_nothing_to_build(tmp_path: Path, missing: str) -> None:
    for name in {"Dockerfile", "VERSION"} - {missing}:
        (tmp_path / name).write_text("x\n")
    with pytest.raises(FileNotFoundError, match=missing):
        image_of(tmp_path, "a/b")


@pytest.mark.parametrize("name", ["VERSION", "Dockerfile"])
def test_the_edges_name_changes_with_its_sources(tmp_path: Path, name: str) -> None:
    copied = Path(shutil.copytree(EDGES, tmp_path / "edge"))
    assert edge_image(copied) == edge_image(EDGES)
    append(".dockerignore")(copied)
    append("company-ca.crt")(copied)
    assert edge_image(copied) == edge_image(EDGES)
    append(name)(copied)
    assert edge_image(copied) != edge_image(EDGES)


def test_the_edge_is_debians_haproxy_and_nothing_else() -> None:
    text = (EDGES / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert re.findall(r"install -y --no-install-recommends (.*?) ?\\?$", text, re.MULTILINE) == ["haproxy"]
    assert lines[0] == "ARG BASE=debian:bookworm-slim"
    assert "STOPSIGNAL SIGUSR1" in lines  # its soft stop
    assert not any(line.startswith(("COPY", "ADD", "EXPOSE", "USER")) for line in lines)


def test_a_laptops_plan_keeps_the_plain_name() -> None:
    assert {service.image for service in plan_of("local").services} == {STAND_IN_IMAGE}

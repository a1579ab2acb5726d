"""Files that a service brings (the edge's configuration): they come and go with it, whoever has parts in them (P7)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostctl import files, host
from hostctl.definitions import parse_host
from hostctl.errors import BadInput, HostctlError
from hostctl.layout import Layout, write_json
from hostctl.observe import observe
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost, removable
from tests.hostctl.test_transaction import ALPHA, alpha, beta, made

EDGE, FILE = "edge", "edge/haproxy.cfg"
MOST_STEPS = 200
ASKED: Any = {"databases": {}, "secrets": {}, "containers": []}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return removable(tmp_path, monkeypatch)


def edge(version: int = 1, file: str = FILE, mode: str = "0644", **changes: Any) -> dict[str, Any]:
    """A service that brings a file, and the file's first part."""
    return bringing(made(EDGE, 8319, version, **changes), file, mode)


def bringing(definition: dict[str, Any], file: str, mode: str = "0644") -> dict[str, Any]:
    definition["files"] = {file: {"mode": mode}}
    return with_part(definition, file, 0, f"# {file}\n")


def with_part(definition: dict[str, Any], file: str = FILE, order: int = 100, text: str = "") -> dict[str, Any]:
    definition["parts"].append({"file": file, "order": order, "text": text or f"listen {definition['name']}\n"})
    return definition


def all_of(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder but what tells the time, with what changes when it is written."""
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_mode)
        for path in root.rglob("*")
        if "state" not in path.relative_to(root).parts or path.name == "files.json"
    }


def text_of(fake: FakeHost, file: str = FILE) -> str | None:
    path = fake.root / file
    return path.read_text() if path.exists() else None


def test_it_comes_with_its_service_and_a_second_run_changes_nothing(fake: FakeHost) -> None:
    fake.up(edge())
    fake.up(with_part(alpha()))
    assert text_of(fake) == f"# {FILE}\nlisten {ALPHA}\n"
    assert (fake.root / FILE).stat().st_mode & 0o777 == 0o644
    assert (fake.root / EDGE).stat().st_mode & 0o777 == 0o755
    before = all_of(fake.root)
    assert fake.up(edge())["outcome"] == fake.up(with_part(alpha()))["outcome"] == "unchanged"
    fake.host()
    assert all_of(fake.root) == before
    fake.assert_sound()


def test_a_part_for_a_file_that_nobody_brings_is_refused_and_says_who_would(fake: FakeHost) -> None:
    with pytest.raises(BadInput) as caught:
        fake.up(with_part(alpha()))
    assert str(caught.value) == (
        f"a part is for the file '{FILE}', but the host's files are: {samples.ENV_FILE}, {samples.CONF}; "
        "the service edge brings it and is not here: bring that up first"
    )
    assert caught.value.exit_code == 2
    fake.up(edge())
    with pytest.raises(BadInput) as caught:
        fake.up(with_part(alpha(), "edge/other.cfg"))
    assert str(caught.value).endswith(f"the host's files are: {samples.ENV_FILE}, {FILE}, {samples.CONF}")
    fake.assert_sound()


def test_it_goes_with_its_service_and_comes_again_with_everybodys_parts(fake: FakeHost) -> None:
    fake.up(edge())
    fake.up(with_part(alpha()))
    whole = text_of(fake)
    fake.down(EDGE)
    assert not (fake.root / EDGE).exists()
    assert not (fake.root / "state/files.json").exists()
    fake.assert_sound()
    assert fake.up(beta())["outcome"] == "started"  # alpha's part is in no file, and in nobody's way
    fake.up(edge())
    assert text_of(fake) == whole
    fake.assert_sound()


def test_a_folder_in_which_somebody_else_has_something_stays(fake: FakeHost) -> None:
    fake.up(edge())
    (fake.root / "edge/notes").write_text("theirs")
    fake.down(EDGE)
    assert [path.name for path in (fake.root / EDGE).iterdir()] == ["notes"]


def test_a_change_of_files_takes_the_former_away(fake: FakeHost) -> None:
    fake.up(edge(1))
    fake.up(edge(2, "edge.cfg", "0600"))
    assert (text_of(fake), text_of(fake, "edge.cfg")) == (None, "# edge.cfg\n")
    assert (fake.root / "edge.cfg").stat().st_mode & 0o777 == 0o600
    assert not (fake.root / EDGE).exists()
    fake.assert_sound()


def test_one_that_fails_leaves_the_former_files(fake: FakeHost) -> None:
    fake.up(edge(1, mode="0600"))
    fake.runtime.sick.add(edge(2)["digest"])
    with pytest.raises(HostctlError, match="Generation 1 serves again"):
        fake.up(edge(2, "edge/other.cfg"))
    assert [path.name for path in (fake.root / EDGE).iterdir()] == ["haproxy.cfg"]
    assert (fake.root / FILE).stat().st_mode & 0o777 == 0o600
    fake.assert_sound()
    fake.runtime.dying.add(beta()["digest"])
    with pytest.raises(HostctlError, match="it was removed again"):
        fake.up(bringing(beta(), "new/file"))
    assert not (fake.root / "new").exists()
    fake.assert_sound()


def test_what_the_runtime_refuses_leaves_the_former_files(fake: FakeHost) -> None:
    fake.up(edge(1, mode="0600"))
    fake.runtime.unreadable = "refuse me"
    broken = edge(2, "edge.cfg")
    broken["parts"][1]["text"] += "stdout_events=refuse me\n"
    with pytest.raises(HostctlError, match="the file can't be read"):
        fake.up(broken)
    assert text_of(fake, "edge.cfg") is None
    assert (fake.root / FILE).stat().st_mode & 0o777 == 0o600
    fake.assert_sound()
    fake.down(EDGE)
    assert not (fake.root / EDGE).exists()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (samples.ENV_FILE, f"files.{samples.ENV_FILE} is a file of the host's own"),
        (FILE, f"files.{FILE} is brought by edge already"),
        ("edge", "files.edge is a file, and another one's folder"),
        (f"{samples.CONF}/x", f"files.{samples.CONF} is a file, and another one's folder"),
    ],
)
def test_a_file_has_one_owner(fake: FakeHost, file: str, said: str) -> None:
    fake.up(edge())
    with pytest.raises(BadInput) as caught:
        fake.up(bringing(alpha(), file))
    assert said in str(caught.value)
    fake.assert_sound()


def test_the_hosts_definition_may_not_take_it_either(fake: FakeHost) -> None:
    fake.up(edge())
    taking = samples.host(files=samples.host()["files"] | {FILE: {"mode": "0644"}})
    with pytest.raises(BadInput, match=f"files.{FILE} is brought by the service edge here"):
        host.converge(fake.context("host"), parse_host(samples.raw(taking)), None)
    fake.assert_sound()


def labels(fake: FakeHost) -> tuple[str, dict[str, str]]:
    found = observe(fake.context(), ASKED)
    return found["host"], found["services"]


def test_what_is_changed_by_hand_is_its_owners(fake: FakeHost) -> None:
    fake.up(edge(), "")
    fake.up(with_part(alpha()), "")
    (fake.root / "bin/hostctl").write_text("#!/bin/sh\n")
    (fake.root / "bin/hostctl").chmod(0o755)
    assert labels(fake) == ("", {EDGE: "", ALPHA: ""})
    path = fake.root / FILE
    whole = path.read_text()
    for change, owner, said in (
        (lambda: path.unlink(), EDGE, f"{FILE} is missing (after generation 1)"),
        (lambda: path.write_text(whole + "more\n"), EDGE, f"{FILE} was edited (after generation 1)"),
        (lambda: path.chmod(0o666), EDGE, f"{FILE} has another mode (after generation 1)"),
        (lambda: path.write_text("x\n" + whole[2:]), EDGE, f"its block in {FILE} was edited (after generation 1)"),
        (lambda: path.write_text(whole[:-2]), ALPHA, f"its block in {FILE} was edited (after generation 1)"),
    ):
        change()
        assert labels(fake) == ("", {EDGE: "", ALPHA: ""} | {owner: said})
        fake.up(edge() if owner == EDGE else with_part(alpha()))
        assert path.read_text() == whole
        assert labels(fake) == ("", {EDGE: "", ALPHA: ""})


def test_it_goes_with_the_host(fake: FakeHost) -> None:
    fake.up(edge())
    (fake.root / "left").mkdir()
    (fake.root / "left/over").write_text("of a run that was killed")
    write_json(Layout(str(fake.root)).files, [FILE, "left/over"])
    fake.act(host.forget)
    assert {path.name for path in fake.root.iterdir()} <= {"state", "data", "logs"}
    assert not (fake.root / "state/files.json").exists()


def change(fake: FakeHost, crash_at: int | None) -> Any:
    return fake.up(edge(2, "edge/other.cfg"), None, crash_at)


def sick_change(fake: FakeHost, crash_at: int | None) -> Any:
    fake.runtime.sick.add(edge(2)["digest"])
    try:
        return fake.up(edge(2, "edge.cfg"), None, crash_at)
    except HostctlError as error:
        return str(error)


def refused_change(fake: FakeHost, crash_at: int | None) -> Any:
    fake.runtime.unreadable = "refuse me"
    broken = edge(2, "edge.cfg")
    broken["parts"][1]["text"] += "stdout_events=refuse me\n"
    try:
        return fake.up(broken, None, crash_at)
    except HostctlError as error:
        return str(error)


def removal(fake: FakeHost, crash_at: int | None) -> Any:
    return fake.down(EDGE, crash_at)


def first(fake: FakeHost, crash_at: int | None) -> Any:
    return fake.up(edge(), None, crash_at)


@pytest.mark.parametrize(
    ("run", "there"),
    [(change, True), (sick_change, True), (refused_change, True), (removal, True), (first, False)],
)
@pytest.mark.parametrize("after", ["recovered", "superseded"])
def test_killed_at_every_step(
    run: Callable[[FakeHost, int | None], Any],
    there: bool,
    after: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next run leaves the files of those that are there, and no others; the next but one, of a new version."""
    for step in range(MOST_STEPS):
        with monkeypatch.context() as patch:
            fake = FakeHost(tmp_path / f"step{step}", patch)
            fake.host()
            if there:
                fake.up(edge())
                fake.up(with_part(alpha()))
            finished = run(fake, step)
            seen = f"after {len(fake.steps)} steps, the last of them: {fake.steps[-1:]}"
            fake.runtime.unreadable = ""
            for definition in [*([beta()] if after == "recovered" else []), edge(3, "third/file")]:
                fake.up(definition)
                assert_no_other_files(fake, seen)
            fake.down(EDGE)
            assert_no_other_files(fake, seen)
        if finished is not None:
            assert step > 5
            return
    pytest.fail("it never came to its end")


def assert_no_other_files(fake: FakeHost, seen: str) -> None:
    try:
        fake.assert_sound()
    except AssertionError as error:
        raise AssertionError(f"{seen}: {error}") from error
    run = fake.context()
    fake.living.discard(fake.pid)
    own = {file for service in run.store.wanted().values() for file in service["files"]}
    assert set(on_disk(fake.root)) == {*samples.host()["files"], *own}, seen
    assert files.brought(run.layout) == own, seen


def on_disk(root: Path) -> Iterator[str]:
    """Files that are none of hostctl's own folders', and folders that are empty."""
    ours = {"bin", "lib", "state", "secrets", "run", "logs", "data"}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if f".tmp-{os.getpid()}" in name:
            continue  # a sweep takes those of dead processes, and this one lives
        if name.split("/")[0] not in ours and (path.is_file() or not any(path.iterdir())):
            yield name


NAMES = ("one", "two", "three")
FILES = ("a.cfg", "b/c.cfg", "b/d.cfg", "e/f.cfg")
acts = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from([None, 1, 2]),
    st.sets(st.sampled_from(FILES), max_size=2),
    st.sets(st.sampled_from(FILES), max_size=2),
)


@given(st.lists(acts, min_size=2, max_size=8))
@settings(deadline=None, max_examples=40)
def test_whatever_comes_and_goes_the_files_are_those_of_who_is_there(doings: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fake = FakeHost(Path(folder) / "root", patch)
        fake.host()
        there: dict[str, dict[str, Any]] = {}
        for name, version, brings, parts in doings:
            if version is None:
                fake.down(name)
                there.pop(name, None)
                continue
            definition = made(name, 8300 + NAMES.index(name), version)
            for file in sorted(brings):
                definition = bringing(definition, file) | {"files": {one: {"mode": "0644"} for one in brings}}
            for file in sorted(parts - brings):
                with_part(definition, file)
            others = {file for other, one in there.items() if other != name for file in one.get("files", {})}
            try:
                fake.up(definition)
            except BadInput:
                assert brings & others or not parts <= brings | others
                continue
            assert not brings & others
            assert parts <= brings | others
            there[name] = definition
            assert_no_other_files(fake, f"{doings}")
            for bringer in there.values():
                for file in bringer.get("files", {}):
                    sections = sorted(
                        (part["order"], other, part["text"])
                        for other, one in there.items()
                        for part in one["parts"]
                        if part["file"] == file
                    )
                    assert text_of(fake, file) == "".join(text for _, _, text in sections)
        assert_no_other_files(fake, f"{doings}")

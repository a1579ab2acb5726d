"""The pinned key gets into a stack file's text, and nothing else of the file changes; else it is refused."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stackedit
from standalone.errors import UserError
from tests.workshop.conftest import REAL

PROJECT = "blockchain-dao"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
OLD = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAwEAAQ=="


def edited(folder: Path, text: str, key: str = KEY) -> str:
    """The file's text after the edit; its bytes are looked at, so that line ends count."""
    path = folder / "Pulumi.x.yaml"
    path.write_bytes(text.encode())
    stackedit.write(path, text, PROJECT, key)
    assert [one.name for one in folder.iterdir()] == ["Pulumi.x.yaml"]
    return path.read_bytes().decode()


def refused(folder: Path, text: str) -> bool:
    """Whether it is refused, with the file as it was and nothing left beside it."""
    try:
        edited(folder, text)
    except stackedit.Unsure:
        assert [one.name for one in folder.iterdir()] == ["Pulumi.x.yaml"]
        return (folder / "Pulumi.x.yaml").read_bytes() == text.encode()
    return False


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_the_projects_own_files_lose_one_comment_and_gain_its_place(tmp_path: Path, stack: str) -> None:
    before = (REAL / f"Pulumi.{stack}.yaml").read_text()
    waiting = "    # host_key: ssh-ed25519 AAAA…   pin the server's key here\n"
    assert before.count(waiting) == 1
    pinned = before.replace(waiting, f"    host_key: {KEY}\n")
    assert edited(tmp_path, before) == pinned
    assert edited(tmp_path, pinned, OLD) == pinned.replace(KEY, OLD)
    assert edited(tmp_path, pinned) == pinned


HOST = "config:\n  blockchain-dao:host:\n"
FORMS: dict[str, tuple[str, str]] = {
    "behind the address": (
        f"{HOST}    address: a.example # its name\n    cpus: 4\n",
        f"{HOST}    address: a.example # its name\n    host_key: {KEY}\n    cpus: 4\n",
    ),
    "no line end at the end": (f"{HOST}    address: a", f"{HOST}    address: a\n    host_key: {KEY}"),
    "windows": (
        f"{HOST}    address: a\n    cpus: 4\n".replace("\n", "\r\n"),
        f"{HOST}    address: a\n    host_key: {KEY}\n    cpus: 4\n".replace("\n", "\r\n"),
    ),
    "a comment waits elsewhere": (
        f"{HOST}    # host_key: ssh-ed25519 AAAA\n    address: a\n  x:y: {{}}\n",
        f"{HOST}    host_key: {KEY}\n    address: a\n  x:y: {{}}\n",
    ),
    "a comment that only speaks of it": (
        f"{HOST}    # host_key: see docs\n    address: a\n",
        f"{HOST}    # host_key: see docs\n    address: a\n    host_key: {KEY}\n",
    ),
    "somebody else's comment": (
        f"{HOST}    address: a\n  x:other:\n    # host_key: ssh-ed25519 AAAA\n    address: b\n",
        f"{HOST}    address: a\n    host_key: {KEY}\n  x:other:\n    # host_key: ssh-ed25519 AAAA\n    address: b\n",
    ),
    "no address yet": (f"{HOST}    cpus: 4\n", f"{HOST}    host_key: {KEY}\n    cpus: 4\n"),
    "an address over two lines": (
        f"{HOST}    address:\n      a\n    cpus: 4\n",
        f"{HOST}    host_key: {KEY}\n    address:\n      a\n    cpus: 4\n",
    ),
    "there already": (f"{HOST}    host_key: {OLD}   # mine\n", f"{HOST}    host_key: {KEY}   # mine\n"),
    "quoted": (f"{HOST}    host_key : '{OLD}'\n    cpus: 1\n", f"{HOST}    host_key : '{KEY}'\n    cpus: 1\n"),
    "nothing behind it": (
        f"{HOST}    host_key:   # later\n    a: 1\n",
        f"{HOST}    host_key: {KEY}   # later\n    a: 1\n",
    ),
    "null": (f"{HOST}    host_key: ~\n", f"{HOST}    host_key: {KEY}\n"),
    "in braces": (
        "config: {blockchain-dao:host: {address: a, cpus: 4}} # all\n",
        f"config: {{blockchain-dao:host: {{address: a, host_key: {KEY}, cpus: 4}}}} # all\n",
    ),
    "in braces over lines": (
        "config:\n  host: { # ours\n    cpus: 4, # few\n  }\n",
        f"config:\n  host: {{host_key: {KEY},  # ours\n    cpus: 4, # few\n  }}\n",
    ),
    "in braces, there": (f"config: {{host: {{host_key: {OLD}}}}}\n", f"config: {{host: {{host_key: {KEY}}}}}\n"),
    "in braces, nothing behind it": (
        "config: {host: {host_key: , a: 1}}\n",
        f"config: {{host: {{host_key: {KEY} , a: 1}}}}\n",
    ),
    "JSON": (
        '{"config": {"blockchain-dao:host": {"address": "a"}}}',
        f'{{"config": {{"blockchain-dao:host": {{"address": "a", "host_key": "{KEY}"}}}}}}',
    ),
    "an anchor of the host's own": (
        "config:\n  host: &h\n    address: a\n  b: 1\n",
        f"config:\n  host: &h\n    address: a\n    host_key: {KEY}\n  b: 1\n",
    ),
    "a merge": (
        "base: &b {host_key: x, cpus: 1}\nconfig:\n  host:\n    <<: *b\n    address: a\n",
        f"base: &b {{host_key: x, cpus: 1}}\nconfig:\n  host:\n    <<: *b\n    address: a\n    host_key: {KEY}\n",
    ),
    "other characters": (
        f"# 服务器 😀\n{HOST}    address: a # 地址\n",
        f"# 服务器 😀\n{HOST}    address: a # 地址\n    host_key: {KEY}\n",
    ),
    "a byte order mark": (f"\ufeff{HOST}    address: a\n", f"\ufeff{HOST}    address: a\n    host_key: {KEY}\n"),
    "the long form of the key": (
        "config:\n  blockchain-dao:config:host: {address: a}\n",
        f"config:\n  blockchain-dao:config:host: {{address: a, host_key: {KEY}}}\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_yaml(tmp_path: Path, form: str) -> None:
    before, after = FORMS[form]
    assert edited(tmp_path, before) == after
    assert edited(tmp_path, after) == after, "a second time changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        "config:\n  host: &h\n    address: a\n  other: *h\n",  # another one would get it too
        "base: &h\n  address: a\nconfig:\n  host: *h\n",
        "config:\n  host:\n    host_key: >-\n      ssh-rsa\n      AAAA\n",
        f"config:\n  host:\n    host_key: &k {OLD}\n    other: *k\n",
        f"config:\n  host:\n    a: &k {OLD}\n    host_key: *k\n",
        f"config:\n  host:\n    host_key: !!str {OLD}\n",
        f"config:\n  host:\n    ? host_key\n    : {OLD}\n",
        "config:\n  host:\n    host_key: {secure: v1:x:y}\n",
        'config:\n  host: \'{"address": "a"}\'\n',
        "config:\n  host: {}\n",
        "config:\n  host:\n",
        "config: {}\n",
        "",
    ],
)
def test_what_it_cannot_be_sure_of_is_left_alone(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text)


def test_what_others_wrote_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(f"{HOST}    address: b\n")
    with pytest.raises(stackedit.Changed):
        stackedit.write(path, f"{HOST}    address: a\n", PROJECT, KEY)
    assert path.read_text() == f"{HOST}    address: b\n"


def test_its_mode_stays_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.yaml", tmp_path / "Pulumi.x.yaml"
    text = f"{HOST}    address: a\n"
    real.write_text(text)
    real.chmod(0o640)
    link.symlink_to(real)
    stackedit.write(link, text, PROJECT, KEY)
    assert link.is_symlink()
    assert (KEY in real.read_text(), real.stat().st_mode & 0o777) == (True, 0o640)
    assert list((tmp_path / "elsewhere").iterdir()) == [real]


def test_what_cannot_be_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(f"{HOST}    address: a\n")
    (tmp_path / ".Pulumi.x.yaml.new").mkdir()  # root may write everywhere, but not here
    with pytest.raises(OSError, match="directory"):
        stackedit.write(path, path.read_text(), PROJECT, KEY)
    assert path.read_text() == f"{HOST}    address: a\n"


# --- any file at all -------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["a", "4", "true", "'it''s'", '"x: y"', "8.5GB", "[1, 2]", "{b: 1, c: {d: e}}", "~", "服务器"])
NOISE = st.sampled_from(["", "# host_key: ssh-ed25519 AAAA…  here", "# plain", "   ", "#host_key: ssh-rsa x", "# 😀"])
ADDRESSES = st.sampled_from(["a", "'b'"])
NAMES = st.sampled_from(["cpus", "memory", "user", "ssh_port", "reserve", "x"])


@st.composite
def blocks(draw: st.DrawFn, indent: int, host: bool) -> list[str]:
    """The lines of a map in block style, with comments wherever they may be."""
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    if host:
        names = draw(st.permutations([*names, "address", *draw(st.sampled_from([[], ["host_key"]]))]))
    lines: list[str] = []
    for name in names or ["only"]:
        pad = " " * indent
        noise = draw(NOISE)
        lines += [f"{' ' * draw(st.integers(0, indent + 2))}{noise}"] if noise else []
        tail = draw(st.sampled_from(["", "  # why", " "]))
        if name == "host_key":
            value = draw(st.sampled_from([OLD, f"'{OLD}'", f'"{OLD}"', "", "~"]))
            lines.append(f"{pad}host_key: {value}{tail}")
        elif name == "reserve":
            lines += [f"{pad}{name}:{tail}", *draw(blocks(indent + draw(st.integers(1, 4)), host=False))]
        else:
            lines.append(f"{pad}{name}: {draw(WORDS)}{tail}")
    return lines


@st.composite
def files(draw: st.DrawFn) -> str:
    """A stack file with a host in block or flow style, between other things."""
    deep = draw(st.integers(1, 4))
    pad = " " * deep
    lines = ["# top", "config:"]
    for name in draw(st.permutations(["blockchain-dao:host", "blockchain-dao:mode", "blockchain-dao:more"])):
        if name.endswith("mode"):
            lines.append(f"{pad}{name}: development  # host_key: ssh-rsa x")
        elif name.endswith("more") or draw(st.booleans()):
            lines += [f"{pad}{name}:", *draw(blocks(deep + draw(st.integers(1, 4)), host=name.endswith("host")))]
        else:
            inside = draw(st.lists(NAMES, unique=True, max_size=3))
            pairs = [f"{key}: {draw(WORDS)}" for key in inside] + [f"address: {draw(ADDRESSES)}"]
            lines.append(f"{pad}{name}: {{{', '.join(draw(st.permutations(pairs)))}}}  # braces")
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join(lines) + draw(st.sampled_from(["", end]))


def comments(text: str) -> Counter[str]:
    return Counter(line.strip() for line in text.splitlines() if line.strip().startswith("#"))


def shared(one: list[str], other: list[str]) -> int:
    """With how many equal lines both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=files())
def test_only_the_key_changes_whatever_the_file_looks_like(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_bytes(text.encode())
    before = stackedit.read(path)[1]
    after = edited(tmp_path, text)
    said: dict[str, Any] = stackedit.read(path)[1]
    host = stackedit.host_of(said, PROJECT)
    was = stackedit.host_of(before, PROJECT)
    assert host is not None
    assert was is not None
    assert host.pop("host_key") == KEY
    was.pop("host_key", None)
    assert said == before
    # In the text: all but one line (or one place of a line) is as it was, and at most the waiting comment is gone.
    lines, others = text.splitlines(keepends=True), after.splitlines(keepends=True)
    assert shared(lines, others) + shared(lines[::-1], others[::-1]) >= len(lines) - 1
    gone = comments(text) - comments(after)
    assert gone.total() <= 1
    assert all("host_key: ssh-" in line for line in gone)
    assert ("\r\n" in after) == ("\r\n" in text)
    assert edited(tmp_path, after) == after


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet="config:host{}&*!?|>-'\"#\n ,[]a\t%@", max_size=60))
def test_nonsense_is_refused_or_edited_but_never_broken(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_bytes(text.encode())
    try:
        _, before = stackedit.read(path)
    except UserError:
        return
    try:
        edited(tmp_path, text)
    except stackedit.Unsure:
        assert path.read_bytes() == text.encode()
        assert stackedit.read(path)[1] == before

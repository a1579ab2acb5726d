"""Nothing that is printed holds a secret (D6)."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl.layout import Layout
from hostctl.redact import Unreadable, env_file, former_secrets, parse_env_file, read_secrets, redact, values_of

SECRET = st.text(min_size=4).filter(lambda text: text.strip() and "*" not in text)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@given(st.dictionaries(KEYS, st.text()))
def test_the_file_comes_back(secrets: dict[str, str]) -> None:
    assert parse_env_file(env_file(secrets)) == secrets


@given(SECRET)
def test_in_whatever_form_a_program_prints_it(secret: str) -> None:
    for form in (secret, json.dumps(secret), repr(secret), quote(secret), quote(secret, safe="")):
        assert secret not in redact(f"password={form}!", [secret])
        assert "***" in redact(f"password={form}!", [secret])


def test_the_longer_one_first() -> None:
    assert redact("it is secret-and-more", ["secret", "secret-and-more"]) == "it is ***"


def test_short_ones_as_words_only() -> None:
    assert redact("a cat sat at 9, a", ["a", "9"]) == "*** cat sat at ***, ***"


def test_lines_of_a_long_one() -> None:
    key = "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----"
    assert redact("read abcdefgh", [key]) == "read ***"


def test_empty_ones_mask_nothing() -> None:
    assert redact("all of it", ["", " "]) == "all of it"


@pytest.mark.parametrize(
    "line", ["PASSWORD=hunter2", "PASSWORD='hunter2'", 'PASSWORD="hunter2', "PASSWORD=", "PASSWORD=1e3", "hunter2"]
)
def test_a_file_edited_by_hand_is_told_by_its_line_and_never_by_what_is_in_it(tmp_path: Path, line: str) -> None:
    layout = Layout(str(tmp_path))
    layout.make()
    layout.secret_file("mysql").write_text(f'# by hand\n\nFINE="hunter2"\n{line}\n')
    with pytest.raises(Unreadable) as caught:
        read_secrets(layout, "mysql")
    assert f"{tmp_path}/secrets/mysql.env, line 4: " in str(caught.value)
    assert "`hostctl secrets NAME`" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None  # what JSON says of it has the text in it
    assert former_secrets(layout, "mysql") == {}
    assert redact(f"it read {line!r}: hunter2", values_of(layout, ["mysql"])).count("hunter2") == 0  # D6

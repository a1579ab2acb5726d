"""Nothing that is printed holds a secret (D6)."""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from hostctl.redact import env_file, parse_env_file, redact

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

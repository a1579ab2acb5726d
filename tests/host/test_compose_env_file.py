"""Secrets in `env_file:` as the real docker-compose reads them back: every value that isn't refused is itself (D6)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostctl.errors import BadInput
from hostctl.redact import compose_env_file

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose on PATH"),
]

values = st.text(
    alphabet=st.one_of(
        st.characters(codec="utf-8", exclude_categories=["Cn", "Co"]), st.sampled_from("$#\"'\\`{}= \n!%&;|<>~")
    ),
    min_size=1,
    max_size=30,
)


def read_back(folder: Path, text: str) -> dict[str, str]:
    (folder / "s.env").write_text(text, encoding="utf-8")
    (folder / "c.yml").write_text("services:\n  a:\n    image: x:1\n    env_file: [./s.env]\n")
    done = subprocess.run(
        ["docker-compose", "-f", "c.yml", "config"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)["services"]["a"]["environment"]
    return {key: str(value).replace("$$", "$") for key, value in found.items()}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(values, min_size=5, max_size=60))
def test_what_is_not_refused_is_read_back(tmp_path: Path, secrets: list[str]) -> None:
    kept: dict[str, str] = {}
    text = ""
    for number, value in enumerate(secrets):
        key = f"KEY_{number}"
        try:
            text += compose_env_file("mysql", {key: value})
        except BadInput:
            continue
        kept[key] = value
    if kept:
        assert read_back(tmp_path, text) == kept


@pytest.mark.parametrize(
    "value",
    [
        "pa$$word",
        "$HOME",
        "a#b",
        'say "hi"',
        "  spaces  ",
        "line\nline\n",
        json.dumps({"a": [1, "ü"]}, ensure_ascii=False),
        "=",
        "`x`",
    ],
)
def test_everyday_passwords(tmp_path: Path, value: str) -> None:
    text = compose_env_file("mysql", {"BLOCKCHAIN_MYSQL_PASSWORD": value})
    assert read_back(tmp_path, text) == {"BLOCKCHAIN_MYSQL_PASSWORD": value}


@pytest.mark.parametrize("value", ["it's", "back\\slash", "${HOME}", "tab\there", "nul\0", "cr\r"])
def test_what_one_compose_would_change_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(
        BadInput, match=r"secrets\.mysql: PASSWORD holds .*, which docker-compose would change"
    ) as refused:
        compose_env_file("mysql", {"PASSWORD": value})
    assert value not in str(refused.value)

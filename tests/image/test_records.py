"""The shared service's records over HTTP (E4)."""

from __future__ import annotations

import concurrent.futures
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.service import Service, running

NAME = "dao-shared-service"


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Service]:
    with running({"SERVICE_NAME": NAME, "SERVICE_DATA": str(tmp_path)}) as service:
        yield service


def put(service: Service, key: str, value: object) -> int:
    return service.ask("PUT", f"/records/{key}", json.dumps(value).encode()).status


def test_put_get_delete(shared: Service) -> None:
    value = {"name": "道", "votes": [1, 2.5, None, True], "wei": 10**30}
    assert put(shared, "user:1@dao", value) == 201
    assert put(shared, "user:1@dao", value) == 200
    answer = shared.get("/records/user:1@dao")
    assert (answer.status, answer.json, answer.headers["Content-Type"]) == (200, value, "application/json")
    assert answer.headers["X-Stand-In"] == "true"
    assert shared.ask("DELETE", "/records/user:1@dao").status == 204
    assert shared.ask("DELETE", "/records/user:1@dao").status == 404
    assert shared.get("/records/user:1@dao").json["error"] == "there is no record 'user:1@dao'"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "not valid JSON at character 0"),
        (b"{", "not valid JSON at character 1"),
        (b"NaN", "NaN is not JSON"),
        (b"[1e999]", "a number is too large"),
        (b'{"a":1,"a":2}', "an object has a name twice"),
        (b'"\\ud800"', "a text has half of a surrogate pair"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b"[" * 60_000, "nested deeper than 64"),
        (b"9" * 5000, "not valid JSON"),
    ],
)
def test_a_bad_value_is_refused_with_the_reason(shared: Service, body: bytes, error: str) -> None:
    answer = shared.ask("PUT", "/records/a", body)
    assert (answer.status, answer.json["error"]) == (400, error)
    assert shared.get("/records").json["count"] == 0


def test_a_bad_key_and_a_large_value_are_refused(shared: Service) -> None:
    for key in ("%20", "a%00b", "-a", "%E9%81%93", "a" * 201):
        answer = shared.ask("PUT", f"/records/{key}", b"1")
        assert answer.status == 400
        assert "a key has 1 to 200 characters" in answer.json["error"]
    assert shared.ask("PUT", "/records/a", b'"' + b"x" * 65_534 + b'"').status == 201
    assert shared.ask("PUT", "/records/a", b'"' + b"x" * 65_535 + b'"').status == 413
    assert shared.get("/health").status == 200


def test_pages(shared: Service) -> None:
    for number in range(25):
        put(shared, f"k{number:02}", number)
    seen: list[str] = []
    after = ""
    while True:
        page = shared.get(f"/records?limit=10&after={after}").json
        assert page["count"] == 25
        seen += [record["key"] for record in page["records"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == [f"k{number:02}" for number in range(25)]
    for limit in ("0", "1001", "-1", "x", "٣"):
        assert shared.get(f"/records?limit={limit.encode().hex() if limit == '٣' else limit}").status == 400


def test_a_page_ends_before_it_is_too_large_for_the_memory(shared: Service) -> None:
    for number in range(40):
        put(shared, f"k{number:02}", "x" * 60_000)
    page = shared.get("/records?limit=1000")
    assert len(page.body) < 1_200_000
    assert page.json["next"] == page.json["records"][-1]["key"]


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    extra = {"SERVICE_NAME": NAME, "SERVICE_DATA": str(tmp_path)}
    with running(extra) as service, concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda number: put(service, f"k{number}", number), range(100))) == {201}
        service.process.kill()
    with running(extra) as service:
        assert service.get("/records").json["count"] == 100
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_store_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "records.sqlite3") as connection:
        connection.execute("PRAGMA user_version=7")
    connection.close()
    with running({"SERVICE_NAME": NAME, "SERVICE_DATA": str(tmp_path)}, wait=False) as service:
        assert service.wait() == 1
    assert "written by a newer version (schema 7, this one knows 1)" in service.lines[0]
    assert len(service.lines) == 1

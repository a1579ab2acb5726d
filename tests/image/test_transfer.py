"""`export_data.sh` and `import_data.sh`: all of the records or none of them (E4, D7, D17)."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin import store, transfer, values
from tests.image.service import IMAGE, SOON, environment, running

NAME = "future-shared-service"


def fill(folder: Path, records: Iterable[tuple[str, object]]) -> None:
    connection = store.open_records(folder / store.RECORDS_FILE, 5)
    with connection:
        connection.execute("BEGIN")
        rows = ((key, values.canonical(value)) for key, value in records)
        connection.executemany("INSERT OR REPLACE INTO records VALUES (?, ?)", rows)
    connection.close()


def kept(folder: Path) -> dict[str, Any]:
    connection = store.open_records(folder / store.RECORDS_FILE, 5)
    found = {key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM records")}
    connection.close()
    return found


def script(name: str, folder: Path, stdin: bytes = b"", service: str = NAME) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [IMAGE / name],
        cwd=folder.parent,
        env=environment({"SERVICE_DATA": folder.name, "SERVICE_NAME": service}),  # relative to where it is called
        input=stdin,
        capture_output=True,
        timeout=SOON,
        check=False,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    fill(folder, [(f"k{number:03}", {"n": number, "text": "道\n\t\u2028"}) for number in range(100)])
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    fill(folder, [("k000", "old"), ("only-here", [1, 2])])
    return folder


def test_the_document_is_json_with_count_and_checksum_and_always_the_same_bytes(source: Path) -> None:
    done = script("export_data.sh", source)
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert {key: document[key] for key in ("format", "version", "service", "count")} == {
        "format": "stand-in-records",
        "version": 1,
        "service": NAME,
        "count": 100,
    }
    lines = done.stdout.split(b"\n")
    assert len(lines) == 100 + 3
    digest = hashlib.sha256(b"".join(line.removesuffix(b",") + b"\n" for line in lines[1:-2])).hexdigest()
    assert document["sha256"] == digest
    assert {record["key"]: record["value"] for record in document["records"]} == kept(source)
    assert script("export_data.sh", source).stdout == done.stdout


def test_import_replaces_adds_and_keeps(source: Path, target: Path) -> None:
    before = kept(target)
    document = script("export_data.sh", source).stdout
    done = script("import_data.sh", target, document, "dao-shared-service")
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    assert report == {
        "imported": 100,
        "added": 99,
        "replaced": 1,
        "unchanged": 0,
        "total": 101,
        "sha256": json.loads(document)["sha256"],
    }
    assert kept(target) == before | kept(source)
    again = json.loads(script("import_data.sh", target, document).stdout)
    assert (again["added"], again["replaced"], again["unchanged"], again["total"]) == (0, 0, 100, 101)


def test_import_into_a_service_that_has_never_run(source: Path, tmp_path: Path) -> None:  # D17
    document = script("export_data.sh", source).stdout
    assert script("import_data.sh", tmp_path / "new", document).returncode == 0
    assert kept(tmp_path / "new") == kept(source)


def test_nothing_to_export_is_told(tmp_path: Path) -> None:
    missing = script("export_data.sh", tmp_path / "missing")
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert b"has the service ever run?" in missing.stderr
    (tmp_path / "empty").mkdir()
    empty = script("export_data.sh", tmp_path / "empty")
    assert (empty.returncode, json.loads(empty.stdout)["count"]) == (0, 0)
    assert b"no records yet" in empty.stderr
    assert script("import_data.sh", tmp_path / "other", empty.stdout).returncode == 0


def test_only_shared_services_have_records(source: Path) -> None:
    done = script("export_data.sh", source, service="identity-service")
    assert done.returncode == 1
    assert done.stderr == b"export: identity-service keeps no records: only a \xe2\x80\xa6-shared-service does\n"


def swapped(document: bytes) -> bytes:
    lines = document.split(b"\n")
    lines[2], lines[3] = lines[3], lines[2]
    return b"\n".join(lines)


DAMAGE = {
    "empty": (lambda d: b"", "stdin is empty (docker exec passes it on with -i only)"),
    "cut in the header": (lambda d: d[:40], "the document is cut off in line 1"),
    "cut in a line": (lambda d: d[: len(d) // 2], "the document is cut off in line"),
    "cut between lines": (lambda d: d[: d.index(b"\n", 600) + 1], "the document is cut off in line"),
    "without its end": (lambda d: d[:-3], "the document is cut off in line 102"),
    "followed by something": (lambda d: d + b"\n", "something follows the document's end in line 102"),
    "twice": (lambda d: d * 2, "something follows the document's end in line 102"),
    "a value changed": (lambda d: d.replace(b'"n":50', b'"n":51'), "the checksum differs"),
    "a key changed": (lambda d: d.replace(b"k050", b"k050x"), "the checksum differs"),
    "a record less": (
        lambda d: d.replace(d.split(b"\n")[50] + b"\n", b""),
        "the header says 100 records, there are 99",
    ),
    "a record twice": (
        lambda d: d.replace(d.split(b"\n")[50], d.split(b"\n")[49]),
        "line 51: key 'k048' does not follow",
    ),
    "two records swapped": (swapped, "line 4: key 'k001' does not follow 'k002'"),
    "another format": (lambda d: d.replace(b"stand-in-records", b"something-else"), "it is 'something-else' version 1"),
    "a newer version": (lambda d: d.replace(b'"version":1', b'"version":2'), "version 2; this imports"),
    "other JSON": (lambda d: b'{"users":[]}\n', "line 1 is not the header"),
    "an SQL dump": (lambda d: b"-- MySQL dump\nCREATE TABLE x;\n", "line 1 is not the header"),
    "a bad key": (lambda d: d.replace(b'"k050"', b'"../etc"'), "line 52: a key has 1 to 200 characters"),
    "a foreign field": (
        lambda d: d.replace(b'{"key":"k050",', b'{"x":1,"key":"k050",'),
        "line 52: not an object of key",
    ),
    "not a number": (lambda d: d.replace(b'"n":50', b'"n":NaN'), "line 52: NaN is not JSON"),
    "bad bytes": (lambda d: d.replace(b'"n":50', b'"n":"\xff"'), "line 52: not valid JSON"),
    "an endless line": (lambda d: d[: d.index(b"\n") + 1] + b"x" * 200_000, "line 2 is longer than"),
    "nested too deep": (lambda d: d.replace(b'"n":50', b'"n":' + b"[" * 99 + b"]" * 99), "line 52: nested deeper"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_document_changes_nothing(name: str, source: Path, target: Path) -> None:
    damage, message = DAMAGE[name]
    out = io.BytesIO()
    connection = store.open_records(source / store.RECORDS_FILE, 5)
    transfer.export(connection, NAME, out)
    connection.close()
    before = kept(target)
    connection = store.open_records(target / store.RECORDS_FILE, 5)
    with pytest.raises(transfer.TransferError) as caught:
        transfer.import_records(connection, io.BytesIO(damage(out.getvalue())), target)
    connection.close()
    assert message in str(caught.value)
    assert kept(target) == before
    assert [file.name for file in target.iterdir() if "records" not in file.name] == [], "the spool is gone"


def test_a_damaged_document_ends_the_script_with_one_line(source: Path, target: Path) -> None:
    document = script("export_data.sh", source).stdout
    before = kept(target)
    done = script("import_data.sh", target, document[:-50])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"import: the document is cut off in line 101\n"
    assert kept(target) == before


def test_a_write_that_fails_half_way_changes_nothing(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    connection = store.open_records(source / store.RECORDS_FILE, 5)
    transfer.export(connection, NAME, out)
    connection.close()
    whole = transfer._spooled

    def breaks(spool: Any) -> Any:
        for number, record in enumerate(whole(spool)):
            if number == 50:
                raise OSError("no space left")
            yield record

    monkeypatch.setattr(transfer, "_spooled", breaks)
    before = kept(target)
    connection = store.open_records(target / store.RECORDS_FILE, 5)
    with pytest.raises(OSError, match="no space left"):
        transfer.import_records(connection, io.BytesIO(out.getvalue()), target)
    connection.close()
    assert kept(target) == before


def test_a_reader_that_goes_away_is_an_error_of_one_line(source: Path) -> None:
    fill(source, [(f"large-{number}", "x" * 60_000) for number in range(20)])
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [IMAGE / "export_data.sh"], env=environment({"SERVICE_DATA": str(source)}), stdout=write,
        stderr=subprocess.PIPE, timeout=SOON, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [b"export: [Errno 32] Broken pipe"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
keys = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._:@~-]{0,20}", fullmatch=True)


@given(there=st.dictionaries(keys, json_values, max_size=8), here=st.dictionaries(keys, json_values, max_size=8))
def test_every_value_arrives_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, there: dict[str, Any], here: dict[str, Any]
) -> None:
    base = tmp_path_factory.mktemp("round")
    folders = [base / "a", base / "b"]
    for folder, records in zip(folders, (there, here), strict=True):
        folder.mkdir()
        fill(folder, records.items())
    out = io.BytesIO()
    connection = store.open_records(folders[0] / store.RECORDS_FILE, 5)
    header = transfer.export(connection, NAME, out)
    connection.close()
    assert json.loads(out.getvalue())["count"] == len(there) == header.count
    connection = store.open_records(folders[1] / store.RECORDS_FILE, 5)
    imported = transfer.import_records(connection, io.BytesIO(out.getvalue()), folders[1])
    connection.close()
    expected = here | there
    assert json.dumps(kept(folders[1]), sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert (imported.total, imported.added + imported.replaced + imported.unchanged) == (len(expected), len(there))


@given(data=st.data())
def test_no_single_changed_byte_gets_through(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    base = tmp_path_factory.mktemp("flip")
    fill(base, [("a", {"x": [1, "two"]}), ("b", None), ("c", "道")])
    out = io.BytesIO()
    connection = store.open_records(base / store.RECORDS_FILE, 5)
    transfer.export(connection, NAME, out)
    document = bytearray(out.getvalue())
    position = data.draw(st.integers(0, len(document) - 1))
    document[position] ^= data.draw(st.integers(1, 255))
    connection.execute("DELETE FROM records")
    try:
        transfer.import_records(connection, io.BytesIO(bytes(document)), base)
    except transfer.TransferError:
        assert not kept(base)
    else:  # only the service's name in the header is for people
        assert NAME.encode() in out.getvalue()
        assert out.getvalue().index(NAME.encode()) <= position < out.getvalue().index(b'","count"')
        assert list(kept(base)) == ["a", "b", "c"]
    connection.close()


def test_export_and_import_while_the_service_runs_and_writes(source: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    document = script("export_data.sh", source).stdout
    with running({"SERVICE_NAME": "dao-shared-service", "SERVICE_DATA": str(live)}) as service:
        stop = threading.Event()

        def write(name: str) -> int:
            number = 0
            while not stop.is_set():
                body = json.dumps(number).encode()
                assert service.ask("PUT", f"/records/{name}-{number}", body).status == 201
                number += 1
            return number

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, name) for name in ("x", "y")]
            try:
                imports = [pool.submit(script, "import_data.sh", live, document) for _ in range(2)]
                assert [done.result().returncode for done in imports] == [0, 0]
                exported = script("export_data.sh", live)
            finally:
                stop.set()
            written = sum(writer.result() for writer in writers)
        assert exported.returncode == 0
        assert json.loads(exported.stdout)["count"] == len(json.loads(exported.stdout)["records"]) >= 100
        assert service.get("/records").json["count"] == written + 100
        assert script("import_data.sh", tmp_path / "copy", exported.stdout).returncode == 0


def test_the_size_of_the_records_is_no_matter_of_memory(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    fill(source, ((f"k{number:06}", {"n": number, "text": "x" * 1000}) for number in range(60_000)))
    document = tmp_path / "document.json"
    with document.open("wb") as out:
        run_alone("export", source, out=out)
    assert document.stat().st_size > 60_000_000
    with document.open("rb") as stdin:
        peak = run_alone("import", target, stdin=stdin)
    assert len(kept(target)) == 60_000
    print(f"import of 60 MB: peak {peak} kB")
    assert peak < 60_000


#: Runs its arguments and prints the peak of their resident memory. It is small itself, because a child's peak starts
#: with its parent's.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def run_alone(action: str, folder: Path, **streams: Any) -> int:
    """Runs a transfer; the peak of its resident memory in kB."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, IMAGE / f"{action}_data.sh"],
        env=environment({"SERVICE_DATA": str(folder)}),
        stdin=streams.get("stdin", subprocess.DEVNULL),
        stdout=streams.get("out", subprocess.DEVNULL),
        stderr=subprocess.PIPE,
        timeout=SOON,
        check=True,
    )
    return int(done.stderr) // (1 if sys.platform == "linux" else 1024)  # macOS counts bytes

"""`python -m standin.transfer export|import`: the shared service's records as one JSON document (E4, D7,
D17).

Behind `/app/export_data.sh` and `/app/import_data.sh`; works while the service runs and in a one-off
container. The document is JSON with one record a line, so that both sides stream it whatever its size:

    {"format":"stand-in-records","version":1,"service":"dao-shared-service","count":2,"sha256":"…","records":[
    {"key":"a","value":1},
    {"key":"b","value":{"x":[]}}
    ]}

`sha256` is over the records' lines without their commas, each with its line end; keys ascend. The same
records are the same bytes. Import reads everything, checks form, count and checksum, and only then writes, in
one transaction: a document that was cut or changed changes nothing. Imported keys replace existing ones, keys
that only the target has stay. Exit 0: done. 1: a line on stderr, nothing changed. 2: called wrongly.
"""

import hashlib
import json
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from standin import store, values
from standin.errors import StoreError
from standin.settings import SHARED_SUFFIX

FORMAT = "stand-in-records"
VERSION = 1
#: How long to wait for another import, in seconds.
BUSY_SECONDS = 60.0
#: Longest line of a document, in bytes: a record with the longest key and value.
MAX_LINE = values.MAX_VALUE + values.MAX_KEY + 64

_FOOTER = b"]}\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class TransferError(Exception):
    """The transfer did nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a document."""

    service: str
    count: int
    sha256: str

    def line(self) -> bytes:
        """As it is written: an object left open before its records."""
        fields = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps(fields, separators=(",", ":"))[:-1].encode("ascii") + b',"records":[\n'


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: the document's records, how they met the target's, and its total after."""

    imported: int
    added: int
    replaced: int
    unchanged: int
    total: int
    sha256: str


def _record_line(key: str, value: str) -> bytes:
    return f'{{"key":{json.dumps(key)},"value":{value}}}'.encode()


def _records(connection: sqlite3.Connection) -> Iterator[bytes]:
    for key, value in connection.execute("SELECT key, value FROM records ORDER BY key"):
        yield _record_line(key, value)


def _digest(lines: Iterable[bytes]) -> tuple[int, str]:
    count, digest = 0, hashlib.sha256()
    for line in lines:
        count += 1
        digest.update(line + b"\n")
    return count, digest.hexdigest()


def export(connection: sqlite3.Connection, service: str, out: BinaryIO) -> Header:
    """Writes all records to `out`, twice read in one transaction: for the header, then for the lines."""
    connection.execute("BEGIN")  # WAL: both reads see the same records, writers go on
    try:
        header = Header(service, *_digest(_records(connection)))
        out.write(header.line())
        for number, line in enumerate(_records(connection), 1):
            out.write(line + (b",\n" if number < header.count else b"\n"))
        out.write(_FOOTER)
        out.flush()
    finally:
        connection.execute("ROLLBACK")
    return header


def _read_line(stream: BinaryIO, number: int) -> bytes:
    line = stream.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise TransferError(f"line {number} is longer than {MAX_LINE} bytes")
    if not line and number == 1:
        raise TransferError("stdin is empty (docker exec passes it on with -i only)")
    if not line.endswith(b"\n"):
        raise TransferError(f"the document is cut off in line {number}")
    return line


def _read_header(line: bytes) -> Header:
    try:
        fields = values.parse(line.rstrip(b"\n") + b"]}")
        if not isinstance(fields, dict):
            raise values.BadValue("not an object")
        form, version, service, count, sha256, records = _header_values(cast(dict[str, object], fields))
    except values.BadValue as error:
        raise TransferError("line 1 is not the header that export_data.sh writes") from error
    if form != FORMAT or version != VERSION:
        raise TransferError(f"it is {form!r} version {version!r}; this imports {FORMAT!r} version {VERSION}")
    if not (isinstance(count, int) and isinstance(sha256, str) and _SHA256.fullmatch(sha256)) or records:
        raise TransferError("line 1 has no count and sha256")
    return Header(str(service), count, sha256)


def _header_values(fields: dict[str, object]) -> tuple[object, ...]:
    if list(fields) != ["format", "version", "service", "count", "sha256", "records"]:
        raise values.BadValue("not the header's names")
    return tuple(fields.values())


def _read_record(line: bytes, number: int) -> tuple[str, str]:
    try:
        record = values.parse(line)
        if not isinstance(record, dict) or list(cast(dict[str, object], record)) != ["key", "value"]:
            raise values.BadValue("not an object of key and value")
        known = cast(dict[str, object], record)
        return values.check_key(known["key"]), values.canonical(known["value"])
    except values.BadValue as error:
        raise TransferError(f"line {number}: {error}") from error


def _verify(stream: BinaryIO, spool: IO[bytes]) -> Header:
    """Reads the whole document into `spool` as `KEY TAB VALUE` lines. Raises `TransferError`."""
    header = _read_header(_read_line(stream, 1))
    count, digest, last = 0, hashlib.sha256(), ""
    number = 1
    more = True  # whether the last line promised another record by its comma
    while True:
        number += 1
        line = _read_line(stream, number)
        if line == _FOOTER and (not more or count == 0):
            break
        if not more:
            raise TransferError(f"line {number}: the end of the document is expected")
        body, more = (line[:-2], True) if line.endswith(b",\n") else (line[:-1], False)
        key, value = _read_record(body, number)
        if key <= last:
            raise TransferError(f"line {number}: key {key!r} does not follow {last!r}")
        count, last = count + 1, key
        digest.update(body + b"\n")
        spool.write(key.encode("ascii") + b"\t" + value.encode("utf-8") + b"\n")
    if stream.read(1):
        raise TransferError(f"something follows the document's end in line {number}")
    if count != header.count:
        raise TransferError(f"the header says {header.count} records, there are {count}")
    if digest.hexdigest() != header.sha256:
        raise TransferError("the checksum differs: the records are not what was exported")
    return header


def _spooled(spool: IO[bytes]) -> Iterator[tuple[str, str]]:
    spool.seek(0)
    for line in spool:
        key, _, value = line[:-1].partition(b"\t")
        yield key.decode("ascii"), value.decode("utf-8")


def import_records(connection: sqlite3.Connection, stream: BinaryIO, spool_folder: Path) -> Imported:
    """Imports the document in `stream`; raises `TransferError` (and has changed nothing) when it isn't whole
    and right.

    The spool file is unlinked as soon as it is open and readable by its owner only, so nothing stays after a
    kill.
    """
    with tempfile.TemporaryFile(dir=spool_folder) as spool:
        header = _verify(stream, spool)
        with connection:  # commits, or rolls back what an exception interrupts
            connection.execute("BEGIN IMMEDIATE")
            before, changes = _count(connection), connection.total_changes
            connection.executemany(
                "INSERT INTO records (key, value) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value",
                _spooled(spool),
            )
            total, changed = _count(connection), connection.total_changes - changes
    added = total - before
    return Imported(header.count, added, changed - added, header.count - changed, total, header.sha256)


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])


def _folder() -> tuple[Path, str]:
    """SERVICE_DATA and SERVICE_NAME of this container. Raises `TransferError`."""
    service = os.environ.get("SERVICE_NAME", "")
    if service and not service.endswith(SHARED_SUFFIX):
        raise TransferError(f"{service} keeps no records: only a …{SHARED_SUFFIX} does")
    data = os.environ.get("SERVICE_DATA", "")
    if not data:
        raise TransferError("SERVICE_DATA is not set: it names the service's folder")
    return Path(data), service


def _export() -> None:
    folder, service = _folder()
    if not folder.is_dir():
        raise TransferError(f"{folder} is not there: has the service ever run?")
    if not (folder / store.RECORDS_FILE).exists():
        print(f"export: no records yet in {folder}", file=sys.stderr)
    connection = store.open_records(folder / store.RECORDS_FILE, BUSY_SECONDS)
    try:
        export(connection, service, sys.stdout.buffer)
    finally:
        connection.close()


def _import() -> None:
    folder, _ = _folder()
    store.make_folder(folder)
    connection = store.open_records(folder / store.RECORDS_FILE, BUSY_SECONDS)
    try:
        imported = import_records(connection, sys.stdin.buffer, folder)
    finally:
        connection.close()
    print(json.dumps(asdict(imported)), flush=True)


def main(arguments: list[str]) -> int:
    """Does what `arguments` say; returns the exit code."""
    actions = {"export": _export, "import": _import}
    if len(arguments) != 1 or arguments[0] not in actions:
        print("usage: python -m standin.transfer export|import", file=sys.stderr)
        return 2
    os.umask(0o077)
    try:
        actions[arguments[0]]()
    except (TransferError, StoreError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    except (sqlite3.Error, OSError) as error:  # a full disk, a closed pipe
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        sys.stdout = None  # its buffer can't be written either, and Python would say so once more
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

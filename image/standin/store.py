"""What the stand-in keeps on disk: the shared service's records (E4).

A SQLite file of mode 0600 in SERVICE_DATA, in WAL mode, so that export and import work while the service
runs; every change is on disk before it is answered.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from standin.errors import StoreBusy, StoreError

#: The file of the shared service's records in SERVICE_DATA.
RECORDS_FILE = "records.sqlite3"
#: The version of its tables, kept in the file itself.
SCHEMA = 1
#: How long the service waits for an import that writes, in seconds.
BUSY_SECONDS = 10.0
#: A page of records ends at this many bytes of values, whatever its limit (memory).
MAX_PAGE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Page:
    """A page of records as (key, JSON text); `next` is the key to go on after, None on the last page."""

    records: list[tuple[str, str]]
    next: str | None


@contextmanager
def store_errors(path: Path) -> Generator[None]:
    """Turns what SQLite and the file system raise about `path` into `StoreError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy(f"{path.name} is busy: an import writes, try again") from error
        raise StoreError(f"{path}: {error}") from error
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: {error}") from error


def make_folder(folder: Path) -> None:
    """Makes SERVICE_DATA, for its owner only. Raises `StoreError`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the file at `path`, made with mode 0600 if missing. Transactions are begun by hand."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-512")  # KiB
    except BaseException:
        connection.close()
        raise
    return connection


def open_records(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the records at `path`, with their table. Raises `StoreError`."""
    with store_errors(path):
        connection = connect(path, busy_seconds)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise StoreError(f"{path}: written by a newer version (schema {version}, this one knows {SCHEMA})")
            if version < SCHEMA:
                connection.executescript(
                    "BEGIN IMMEDIATE;"
                    "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
                    f"PRAGMA user_version={SCHEMA}; COMMIT"
                )
        except BaseException:
            connection.close()
            raise
    return connection


class RecordStore:
    """The records of the shared service. One connection, for one thread at a time: callers see to that."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._path = folder / RECORDS_FILE
        self._connection = open_records(self._path, BUSY_SECONDS)

    def close(self) -> None:
        """Closes the file; what was answered is on disk already."""
        self._connection.close()

    def get(self, key: str) -> str | None:
        """The JSON text of `key`."""
        with store_errors(self._path):
            row = self._connection.execute("SELECT value FROM records WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, value: str) -> bool:
        """Keeps the JSON text `value` under `key`; whether the key is new."""
        with store_errors(self._path), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            new = connection.execute("SELECT 1 FROM records WHERE key = ?", (key,)).fetchone() is None
            connection.execute("INSERT OR REPLACE INTO records (key, value) VALUES (?, ?)", (key, value))
        return new

    def delete(self, key: str) -> bool:
        """Forgets `key`; whether it was there."""
        with store_errors(self._path):
            return self._connection.execute("DELETE FROM records WHERE key = ?", (key,)).rowcount == 1

    def count(self) -> int:
        """How many records there are."""
        with store_errors(self._path):
            return int(self._connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def page(self, after: str, limit: int) -> Page:
        """The next `limit` records after the key `after`, in order; `MAX_PAGE_BYTES` may end it sooner."""
        records: list[tuple[str, str]] = []
        size = 0
        with store_errors(self._path):
            cursor = self._connection.execute("SELECT key, value FROM records WHERE key > ? ORDER BY key", (after,))
            for key, value in cursor:
                if len(records) == limit or (records and size + len(value) > MAX_PAGE_BYTES):
                    cursor.close()
                    return Page(records, records[-1][0])
                records.append((key, value))
                size += len(value)
        return Page(records, None)

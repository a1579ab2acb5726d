"""The store that takes a database's place when that is not there and the stack says so (issue 3, 4).

`when_missing: embedded` is for `local` only. Apart from `readiness`, so that a service without one doesn't
import SQLite.
"""

import sqlite3
from pathlib import Path

from standin.errors import StoreError
from standin.readiness import State
from standin.store import BUSY_SECONDS, connect, make_folder, store_errors


class EmbeddedStore:
    """A SQLite file of its own in SERVICE_DATA for the database `name`. Raises `StoreError`."""

    def __init__(self, folder: Path, name: str) -> None:
        make_folder(folder)
        self._path = folder / f"embedded-{name}.sqlite3"
        self.query()

    def query(self) -> str:
        """A query; what answers, for people. Raises `StoreError`. Writes only when the file is new."""
        with store_errors(self._path):
            connection = connect(self._path, BUSY_SECONDS)
            try:
                connection.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
                connection.execute("SELECT count(*) FROM entries").fetchone()
            finally:
                connection.close()
        return f"SQLite {sqlite3.sqlite_version} in {self._path.name}"

    def check(self) -> State:
        """The query as a state of readiness."""
        try:
            return State("embedded", self.query())
        except StoreError as error:
            return State("unreachable", str(error))

"""Errors that more than one module needs to know, without importing SQLite (D14)."""


class StoreError(Exception):
    """The store can't be used; the text names the file and the reason."""


class StoreBusy(StoreError):
    """Somebody else writes for longer than we wait (a large import); trying again helps."""

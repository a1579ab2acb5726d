"""HTTP/1.1 as uvicorn speaks it, but for one thing: a connection that was reset is forgotten at once.

uvicorn ends the timer of an idle connection when the other side closes it, and not when it resets it, as HAProxy does
with those that it needs no more. Each would take some 8 kB until the timer ends (5 s): at 500 requests a second 20 MB,
more than the limit of a service on a small server holds (D14).
"""

from uvicorn.protocols.http.h11_impl import H11Protocol


class Protocol(H11Protocol):
    """For `uvicorn.Config(http=…)`."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, or was reset (`exc`)."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

"""What can go wrong on the way to a database, in one line of words that never change.

The words become observed labels, so the same trouble must always read the same.
"""

import os
import socket
import ssl
from collections.abc import Iterator

#: Longest detail, in characters.
MAX_DETAIL = 200


class Missing(Exception):
    """Nothing there that speaks this protocol."""


class Refused(Exception):
    """It answers, and doesn't let us in."""


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, at most `MAX_DETAIL` long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:MAX_DETAIL]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


CLOSED = "connection closed"
_NETWORK: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "timed out"),
    (ConnectionRefusedError, "connection refused"),
    (socket.gaierror, "unknown host name"),
    (ssl.SSLError, "the TLS handshake failed"),
    (ConnectionError, CLOSED),
)


def network_detail(error: BaseException) -> str | None:
    """The network's trouble under a client's error, in words that never change; None if there is none."""
    for cause in _causes(error):
        for kind, words in _NETWORK:
            if isinstance(cause, kind):
                return words
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno).lower()
    return None


def missing(error: BaseException, kind: str) -> Missing:
    """Why there is no database of `kind`, from its client's error.

    What a stranger does with a greeting that it doesn't understand is a matter of moments: it hangs up before or after
    its own first bytes have come. That is one answer here, because a label must not change by itself.
    """
    trouble = network_detail(error)
    if trouble is None or trouble == CLOSED:
        trouble = f"listens, but does not answer as {kind}"
    return Missing(trouble)


def encrypting() -> ssl.SSLContext:
    """TLS as the databases' own clients do it unasked: it encrypts, and trusts any certificate.

    Made here, because what PyMySQL and pg8000 make by default loads the machine's list of authorities (2 MB,
    15 ms) each time, to ignore it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

"""One line for each event on stderr, as `key=value` pairs: `time=… level=info service=… event=started
port=8302`.

Requests are not logged (they are counted in `/metrics`); starts, stops, changes of state and warnings are.
"""

import json
import logging
import re
import sys
import time

#: Messages of libraries that an outsider can provoke at will are written at most once in this time.
REPEAT_SECONDS = 60.0

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+,-]+")
_log = logging.getLogger("standin")


def _value(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class LineFormatter(logging.Formatter):
    """Writes a record as one line whatever is in it; tracebacks become one quoted value."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
        }
        fields.update(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_value(value)}" for key, value in fields.items())


class _RepeatFilter(logging.Filter):
    """Drops a message written less than `REPEAT_SECONDS` ago: a port scanner must not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        template = str(record.msg)[:200]
        if record.created - self._written.get(template, 0.0) < REPEAT_SECONDS:
            return False
        self._written[template] = record.created
        return True


def setup(service: str) -> None:
    """Sends all logging of the process to stderr as lines about `service`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _log.setLevel(logging.INFO)
    for name in ("uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).addFilter(_RepeatFilter())


def info(event: str, **fields: object) -> None:
    """Something normal that is worth a line: start, stop."""
    _log.info(event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    """Something that a person should look at while the service goes on."""
    _log.warning(event, extra={"fields": fields})


def error(event: str, **fields: object) -> None:
    """What ends the service."""
    _log.error(event, extra={"fields": fields})

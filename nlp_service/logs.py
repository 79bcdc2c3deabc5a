"""Logs as JSON lines on standard error, one object an event, with nothing in them that a report says.

What radlabel logs are fixed sentences with named fields. Of what other libraries log, and of exceptions, only the kind
and the place are kept: their messages could quote what they were given.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
import threading
from typing import Any

from nlp_service.errors import describe

# The fields an event may have; anything else that comes along with a record stays out.
FIELDS = frozenset(
    "request_id method route status duration_ms key_id reports fault host port executor workflows job door "
    "control outcome peer_count model version count signal".split()
)
log = logging.getLogger(__name__)
_OURS = "nlp_service"
_PLAIN = frozenset({"uvicorn.error"})  # its messages are about sockets and processes


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, tz=dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        is_ours = record.name.partition(".")[0] == _OURS
        error = record.exc_info[1] if record.exc_info else None
        if is_ours or (record.name in _PLAIN and error is None):
            # The sentence itself: arguments are not put in, fields are.
            line["event"] = str(record.msg) if is_ours else record.getMessage()
        else:
            line["event"] = f"a message of {record.name}, which is not repeated"
        if error is not None:
            line["fault"] = describe(error)
        if is_ours:
            line |= {name: value for name, value in record.__dict__.items() if name in FIELDS}
        return json.dumps(line, ensure_ascii=True)


def set_up_logs(level: str = "INFO") -> None:
    """Send what is logged in this process to standard error, radlabel's from ``level`` on, others' from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(level)
    threading.excepthook = _log_thread_fault  # by itself it would write the message, which could quote a report
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "dbos"):
        take_over_logger(name)
    logging.getLogger("uvicorn.access").propagate = False


def _log_thread_fault(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_value is not None and not isinstance(fault.exc_value, SystemExit):
        log.error("a thread ended with a fault", exc_info=fault.exc_value)


def take_over_logger(name: str) -> None:
    """Take a library's own handlers from its logger: what it logs comes out as all else does, or not at all."""
    logger = logging.getLogger(name)
    logger.handlers[:] = []
    logger.propagate = True

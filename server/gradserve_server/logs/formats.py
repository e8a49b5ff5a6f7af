"""How a record becomes a line. Whatever callers send into it, a line stays one line, and nobody else's."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from gradserve_server.calls import CALL

Value: TypeAlias = str | int | float | None
Fields: TypeAlias = Mapping[str, Value]

_LONGEST = 1024
_PLAIN = re.compile(r'[^\s"=\\]+')


def with_fields(fields: Fields) -> dict[str, Fields]:
    """What to log as `extra`, for a line that has fields beside its message. Those that are empty are left out."""
    return {"fields": fields}


class JsonFormat(logging.Formatter):
    """An object for each record, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Value] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if error := _error(self, record):
            line["exception"] = error
        return json.dumps(line)


class ConsoleFormat(logging.Formatter):
    """The message, and then the fields as key=value. Lines of a traceback are indented, as no other line is."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        head = f"{_time(record)} {record.levelname} {record.name}: {_escaped(record.getMessage())}"
        fields = [f"{key}={_word(value)}" for key, value in _fields(record).items()]
        below = [f"    {_escaped(line)}" for line in _error(self, record).splitlines()]
        return "\n".join((" ".join((head, *fields)), *below))


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Value]:
    """The fields of a record, and in a call what tells it from others."""
    call = CALL.get()
    of_call: Fields = {"request_id": call.request_id, "trace_id": call.trace_id} if call else {}
    fields = {**of_call, **getattr(record, "fields", {})}
    return {key: _shortened(value) for key, value in fields.items() if value not in {None, ""}}


def _error(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _shortened(value: Value) -> Value:
    return f"{value[:_LONGEST]}..." if isinstance(value, str) and len(value) > _LONGEST else value


def _word(value: Value) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.isascii() and text.isprintable() else json.dumps(text)


def _escaped(text: str) -> str:
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

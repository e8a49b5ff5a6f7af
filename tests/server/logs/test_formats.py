"""Records as lines, and that nobody can write a line of his own into the log."""

import json
import logging

import pytest

from gradserve_server.calls import CALL, Call
from gradserve_server.facts import RpcMethod
from gradserve_server.logs.formats import ConsoleFormat, JsonFormat, with_fields

METHOD = RpcMethod("unary", "gradserve.v1.InferenceService", "Forward")
FORGED = "x\n2026-01-01T00:00:00.000Z INFO gradserve_server.audit: delete_model ok model=y\x1b[2K\u2028\u202e"


class Sent:
    """What a caller has sent."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = tuple((key.replace("_", "-"), value) for key, value in metadata.items())

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


def record(message: str, *arguments: object, error: BaseException | None = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("gradserve_server.x", logging.INFO, __file__, 1, message, arguments, None)
    made.__dict__.update(with_fields(fields))  # type: ignore[arg-type] # as `extra` does
    made.created = 1767225600.5
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    return made


def test_a_line_of_the_console_is_the_message_and_then_the_fields():
    line = ConsoleFormat().format(record("%s ok", "forward", model="a", caller="ipv4:[::1]:5", seconds=0.25, empty=""))
    assert (
        line == "2026-01-01T00:00:00.500Z INFO gradserve_server.x: forward ok model=a caller=ipv4:[::1]:5 seconds=0.25"
    )


def test_a_line_of_json_is_an_object():
    line = json.loads(JsonFormat().format(record("%s ok", "forward", model="a", seconds=0.25, nothing=None)))
    assert line == {
        "time": "2026-01-01T00:00:00.500Z",
        "level": "info",
        "logger": "gradserve_server.x",
        "message": "forward ok",
        "model": "a",
        "seconds": 0.25,
    }


@pytest.mark.parametrize("text", [FORGED, "a b", 'a"b', "a=b", "a\\b", "ü", "\x00"])
def test_a_field_of_the_console_that_is_no_plain_word_is_quoted(text):
    line = ConsoleFormat().format(record("ok", model=text))
    assert json.loads(line.partition("model=")[2]) == text
    assert line.isascii()
    assert line.isprintable()


def test_a_message_that_holds_what_a_caller_sent_stays_one_line():
    assert ConsoleFormat().format(record("no model %s", FORGED)).isprintable()
    assert len(JsonFormat().format(record("no model %s", FORGED, model=FORGED)).splitlines()) == 1


def test_a_traceback_cannot_be_taken_for_other_lines():
    first, *others = ConsoleFormat().format(record("bug", error=ValueError(FORGED))).splitlines()
    assert first.endswith(": bug")
    assert others
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert "forged" not in JsonFormat().format(record("bug", error=ValueError(FORGED))).splitlines()[1:]


def test_a_field_is_cut_off_where_it_is_very_long():
    assert len(JsonFormat().format(record("ok", model="a" * 100_000))) < 2000


def test_lines_of_a_call_carry_its_ids():
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    token = CALL.set(Call(METHOD, Sent(x_request_id="id", traceparent=f"00-{trace}-00f067aa0ba902b7-00")))
    try:
        line = json.loads(JsonFormat().format(record("ok")))
    finally:
        CALL.reset(token)
    assert (line["request_id"], line["trace_id"]) == ("id", trace)


@pytest.mark.parametrize("sent", ["a\nb", "a b", "", "ü"])
def test_an_id_that_could_be_taken_for_something_else_is_replaced_by_one_for_all_lines(sent):
    call = Call(METHOD, Sent(x_request_id=sent))
    assert call.request_id == call.request_id != sent
    assert call.request_id.isalnum()

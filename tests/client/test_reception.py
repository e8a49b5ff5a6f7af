"""A state_dict from its parts: what may come, in which order, and what is refused."""

import hashlib
import io

import pytest

import gradserve
from gradserve._reception import Buffer, File, Reception
from gradserve.v1.state_pb2 import GetStateDictResponse, StateDictHeader, StateDictTrailer


def header(total_bytes: int, version: int = 3) -> GetStateDictResponse:
    return GetStateDictResponse(header=StateDictHeader(version=version, total_bytes=total_bytes))


def chunk(data: bytes) -> GetStateDictResponse:
    return GetStateDictResponse(chunk=data)


def trailer(data: bytes) -> GetStateDictResponse:
    return GetStateDictResponse(trailer=StateDictTrailer(sha256=hashlib.sha256(data).digest()))


EMPTY = GetStateDictResponse()


def feed(*parts: GetStateDictResponse) -> bytes:
    """Return the bytes that arrive in memory."""
    buffer = Buffer()
    reception = Reception(buffer)
    for part in parts:
        reception.feed(part)
    reception.finish()
    return buffer.content.tobytes()


@pytest.mark.parametrize("chunks", [[b"abcdef"], [b"ab", b"", b"cdef"], []], ids=["one", "several", "none"])
def test_the_bytes_of_all_chunks_arrive_in_order(chunks: list[bytes]):
    data = b"".join(chunks)
    assert feed(header(len(data)), *map(chunk, chunks), trailer(data)) == data


def test_the_header_tells_version_and_size():
    reception = Reception(Buffer())
    reception.feed(header(6))
    reception.feed(chunk(b"abcd"))
    assert (reception.version, reception.total_bytes, reception.received_bytes) == (3, 6, 4)


@pytest.mark.parametrize(
    "parts",
    [
        [chunk(b"a")],
        [trailer(b"")],
        [EMPTY],
        [header(1), header(1)],
        [header(1), EMPTY],
        [header(0), trailer(b""), trailer(b"")],
        [header(0), trailer(b""), chunk(b"")],
        [header(1), chunk(b"ab")],
        [header(-1)],
    ],
    ids=str,
)
def test_a_part_out_of_place_is_an_internal_error(parts: list[GetStateDictResponse]):
    with pytest.raises(gradserve.InternalError) as caught:
        feed(*parts)
    assert caught.value.reason == "MALFORMED_REPLY"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([header(2), chunk(b"ab"), trailer(b"ac")], "CHECKSUM_MISMATCH"),
        ([header(2), chunk(b"a"), trailer(b"a")], "CHECKSUM_MISMATCH"),
        ([header(2), chunk(b"ab")], "TRUNCATED_REPLY"),
        ([header(2)], "TRUNCATED_REPLY"),
        ([], "TRUNCATED_REPLY"),
    ],
    ids=str,
)
def test_bytes_that_were_changed_or_are_missing_are_data_loss(parts: list[GetStateDictResponse], reason: str):
    with pytest.raises(gradserve.DataLossError) as caught:
        feed(*parts)
    assert caught.value.reason == reason


def test_a_file_holds_nothing_of_an_attempt_before():
    stream = io.BytesIO()
    sink = File(stream)
    for data in (b"a longer one", b"short"):
        reception = Reception(sink)
        reception.feed(header(len(data)))
        reception.feed(chunk(data))
    assert stream.getvalue() == b"short"

"""The parts in which weights go over the wire."""

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradserve
from gradserve import _state_requests as requests
from gradserve.v1 import state_pb2

OPTIONS = requests.LoadOptions(strict=True, keys=(), if_version=None, durable=True, cast=False, request_id=None)
MIB = 1024 * 1024

lengths = st.sampled_from([0, 1, 5, MIB - 1, MIB, MIB + 1, 2 * MIB + 3])


def pieces_of(sizes: list[int]) -> list[memoryview]:
    return [memoryview(bytes([number]) * size) for number, size in enumerate(sizes)]


@given(st.lists(lengths, max_size=4))
def test_chunks_are_all_the_bytes_in_order(sizes: list[int]):
    pieces = pieces_of(sizes)
    assert b"".join(requests.chunks_of(pieces)) == b"".join(pieces)


@given(st.lists(lengths, max_size=4))
def test_each_chunk_but_the_last_is_full_and_none_is_empty(sizes: list[int]):
    *full, last = [len(chunk) for chunk in requests.chunks_of(pieces_of(sizes))] or [1]
    assert set(full) <= {MIB}
    assert 0 < last <= MIB


def test_a_file_is_read_from_its_beginning_whatever_was_read_before():
    content = b"ab" * MIB
    stream = io.BytesIO(content)
    for _ in range(2):
        chunks = list(requests.chunks_in(stream))
        assert b"".join(chunks) == content
        assert [len(chunk) for chunk in chunks] == [MIB, MIB]


def test_a_request_is_a_header_then_chunks_then_the_checksum_of_their_bytes():
    header = requests.load_header("m", OPTIONS, 3)
    parts = list(requests.load(header, [b"a", b"bc"]))
    assert [part.WhichOneof("part") for part in parts] == ["header", "chunk", "chunk", "trailer"]
    assert parts[-1].trailer.sha256 == hashlib.sha256(b"abc").digest()
    assert parts[0].header.total_bytes == 3


def test_every_request_has_an_id_of_its_own():
    ids = {requests.load_header("m", OPTIONS, 1).request_id for _ in range(100)}
    assert len(ids) == 100
    assert all(0 < len(name) <= 128 for name in ids)


def test_what_is_not_said_is_not_sent():
    header = requests.load_header("m", OPTIONS, 1)
    assert not header.HasField("if_version")
    assert list(header.keys) == []


def test_what_is_said_is_sent():
    options = requests.LoadOptions(
        strict=False, keys=["a", "b"], if_version=0, durable=False, cast=True, request_id="mine"
    )
    expected = state_pb2.LoadStateDictHeader(
        model="m",
        strict=False,
        keys=["a", "b"],
        if_version=0,
        durable=False,
        cast=True,
        request_id="mine",
        total_bytes=7,
    )
    assert requests.load_header("m", options, 7) == expected


def test_one_glob_need_not_stand_in_a_list():
    assert requests.get("m", "layers.*", None) == requests.get("m", ["layers.*"], None)


@pytest.mark.parametrize("make", [requests.get, requests.load_checkpoint])
def test_a_version_beyond_the_wire_is_named(make):
    with pytest.raises(gradserve.InvalidArgumentError) as caught:
        make("m", "x", 2**63)
    assert caught.value.field_violations[0].field == "if_version"

"""Heads of safetensors files: what is read, what is refused, and what is said about it."""

import json

import pytest

from gradserve_server.errors import InvalidArgument, ResourceExhausted
from gradserve_server.safetensors_layout import (
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    Layout,
    TensorEntry,
    head_bytes,
    read_layout,
    write_layout,
)
from tests.support.bad_safetensors import ATTACKS, FILL, FOUR, file_of, tensor


def read(file: bytes) -> Layout:
    """The layout of a whole file."""
    return read_layout(file[: head_bytes(file, len(file))], len(file))


@pytest.mark.parametrize("file", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.timeout(10)  # a tenth of a second, were it not for slow machines; anything quadratic takes hours
def test_a_file_that_is_wrong_is_refused(file):
    with pytest.raises(InvalidArgument) as refusal:
        read(file)

    assert refusal.value.reason == "INVALID_SAFETENSORS"
    assert refusal.value.field == "chunk"
    assert len(refusal.value.text) < 300


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("a length above the cap", f"would have {MAX_HEADER_BYTES + 1} bytes; at most {MAX_HEADER_BYTES}"),
        ("deep lists", "nested too deep"),
        ("a hole in between", "a hole before 'b'"),
        ("an overlap", "an overlap at 'b'"),
        ("an unknown dtype", "'a' has an unknown dtype; known are BOOL, U8"),
        ("a size above shape x dtype", "'a', float16 of shape [1], takes 2 bytes, not 4"),
        ("a name twice", "the same name twice"),
        ("one trailing byte", "the tensors take 4 bytes, but 5 follow the header"),
        ("metadata as a tensor", "__metadata__ must hold text"),
        ("300,000 empty tensors", f"at most {MAX_HEADER_BYTES}"),
        ("more tensors than a model has", f"at most {MAX_TENSORS}"),
        ("a pickle", "send safetensors"),
        ("a zip", "send safetensors"),
    ],
)
def test_a_refusal_says_what_is_wrong(attack, words):
    with pytest.raises(InvalidArgument) as refusal:
        read(ATTACKS[attack])
    assert words in refusal.value.message


def test_a_refusal_does_not_repeat_a_name_of_a_megabyte():
    with pytest.raises(InvalidArgument) as refusal:
        read(file_of({"a" * FILL: 0}))
    assert len(refusal.value.text) < 300


def test_a_head_of_another_length_than_it_says_is_refused():
    file = file_of({"a": tensor()}, FOUR)
    with pytest.raises(InvalidArgument, match="head has"):
        read_layout(file, len(file))


@pytest.mark.parametrize(
    ("file", "entries"),
    [
        (file_of({}), []),
        (file_of("{}" + " " * 100), []),
        (file_of({"a": tensor()}, FOUR), [TensorEntry("a", "float32", (1,), 0, 4)]),
        (file_of({"a": tensor(shape=[])}, FOUR), [TensorEntry("a", "float32", (), 0, 4)]),
        (file_of({"a": tensor(shape=[1] * 8)}, FOUR), [TensorEntry("a", "float32", (1,) * 8, 0, 4)]),
        (file_of({"": tensor("U8", [4])}, FOUR), [TensorEntry("", "uint8", (4,), 0, 4)]),
        (file_of({"[{": tensor()}, FOUR), [TensorEntry("[{", "float32", (1,), 0, 4)]),
        (
            file_of({"b": tensor(offsets=[4, 8]), "e": tensor(shape=[0], offsets=[4, 4]), "a": tensor()}, FOUR * 2),
            [
                TensorEntry("a", "float32", (1,), 0, 4),
                TensorEntry("e", "float32", (0,), 4, 4),
                TensorEntry("b", "float32", (1,), 4, 8),
            ],
        ),
    ],
)
def test_a_sound_file_tells_its_tensors_in_the_order_of_their_bytes(file, entries):
    assert list(read(file).entries) == entries


def test_the_longest_header_is_read():
    names = ["x" * (MAX_HEADER_BYTES - len(json.dumps({"": tensor()})))]
    file = file_of({name: tensor() for name in names}, FOUR)
    assert [entry.name for entry in read(file).entries] == names


def test_the_most_tensors_are_read():
    file = file_of({str(i): tensor(shape=[0], offsets=[0, 0]) for i in range(MAX_TENSORS)})
    assert len(read(file).entries) == MAX_TENSORS


def test_no_tensor_is_written_under_the_name_of_the_metadata():
    with pytest.raises(InvalidArgument, match="__metadata__"):
        write_layout([("__metadata__", "float32", (1,))])


@pytest.mark.parametrize(
    "tensors",
    [
        [(str(i), "float32", (0,)) for i in range(MAX_TENSORS + 1)],
        [("x" * MAX_HEADER_BYTES, "float32", (0,))],
    ],
)
def test_nothing_is_written_that_would_not_be_read(tensors):
    with pytest.raises(ResourceExhausted):
        write_layout(tensors)

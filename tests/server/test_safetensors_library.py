"""Files of the server and of the safetensors library, each read by the other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradserve_server.errors import InvalidArgument
from gradserve_server.safetensors_layout import Layout, file_order, head_bytes, read_layout, write_layout
from tests.support.bad_safetensors import file_of

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Contents: TypeAlias = dict[str, tuple[str, tuple[int, ...], bytes]]
"""The dtype, shape and bytes of each tensor."""

DTYPES = {
    "BOOL": np.dtype(bool),
    "U8": np.dtype("uint8"),
    "I8": np.dtype("int8"),
    "I16": np.dtype("int16"),
    "I32": np.dtype("int32"),
    "I64": np.dtype("int64"),
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
}


def read(file: bytes) -> Layout:
    """The layout of a whole file."""
    return read_layout(file[: head_bytes(file, len(file))], len(file))


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """An array of any bits, NaNs of every kind among them."""
    dtype = draw(st.sampled_from(list(DTYPES.values())))
    shape = draw(st.lists(st.integers(0, 3), max_size=8).map(tuple))
    size = int(np.prod(shape)) * dtype.itemsize
    bits = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), "u1")
    return np.ndarray(shape, dtype, (bits & 1 if dtype.kind == "b" else bits).tobytes())


# Text as UTF-8 can hold it.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
state_dicts = st.dictionaries(texts.filter(lambda name: name != "__metadata__"), arrays(), max_size=8)
notes = st.dictionaries(texts, texts, max_size=4)


def named(state: Mapping[str, Array]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(name, array.dtype.name, array.shape) for name, array in state.items()]


def file_from(state: Mapping[str, Array], order: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    """The file of a state_dict, its tensors in some order."""
    head = write_layout([(name, state[name].dtype.name, state[name].shape) for name in order], metadata)
    return head + b"".join(state[name].tobytes() for name in order)


def contents(layout: Layout, file: bytes) -> Contents:
    """What a layout says about a file: the dtype, shape and bytes of each tensor."""
    data = file[head_bytes(file, len(file)) :]
    return {entry.name: (entry.dtype, entry.shape, data[entry.begin : entry.end]) for entry in layout.entries}


def bits(arrays: Mapping[str, Array]) -> Contents:
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in arrays.items()}


def torch_bits(value: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    raw = value.reshape(-1).view(torch.uint8).numpy().tobytes()
    return str(value.dtype).removeprefix("torch."), tuple(value.shape), raw


def judged(file: bytes) -> Contents:
    """What the library itself finds in a file."""
    found = safetensors.deserialize(file)
    return {name: (DTYPES[t["dtype"]].name, tuple(t["shape"]), bytes(t["data"])) for name, t in found}


@given(state=state_dicts, metadata=notes)
def test_what_the_library_writes_is_read_the_same(state, metadata):
    file = safetensors.numpy.save(state, metadata or None)
    layout = read(file)
    assert contents(layout, file) == bits(state)
    assert layout.metadata == metadata


@given(state=state_dicts, metadata=notes, dice=st.randoms())
def test_what_is_written_the_library_reads_the_same(state, metadata, dice):
    order = list(state)
    dice.shuffle(order)
    file = file_from(state, order, metadata)
    assert judged(file) == bits(state)
    assert {name: torch_bits(value) for name, value in safetensors.torch.load(file).items()} == bits(state)


@given(state=state_dicts, metadata=notes)
def test_what_is_written_is_read_back(state, metadata):
    file = file_from(state, list(state), metadata)
    layout = read(file)
    assert contents(layout, file) == bits(state)
    assert [entry.name for entry in layout.entries if entry.begin < entry.end] == [n for n in state if state[n].size]
    assert layout.metadata == metadata


@given(state=state_dicts, metadata=notes.filter(lambda metadata: len(metadata) < 2))
def test_in_file_order_the_bytes_are_those_that_the_library_writes(state, metadata):
    order = [name for name, _, _ in file_order(named(state))]
    assert file_from(state, order, metadata) == safetensors.numpy.save(state, metadata or None)


@given(state=state_dicts)
def test_in_file_order_every_tensor_is_aligned(state):
    head = write_layout(file_order(named(state)))
    data_bytes = sum(array.nbytes for array in state.values())
    entries = read_layout(head, len(head) + data_bytes).entries
    assert len(head) % 8 == 0
    assert all(entry.begin % np.dtype(getattr(ml_dtypes, entry.dtype, entry.dtype)).itemsize == 0 for entry in entries)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_torch_gets_from_a_written_file_what_it_wrote(dtype, tmp_path: Path):
    own = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype.name))
    _, _, raw = torch_bits(own)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(write_layout([("layers.0.weight", dtype.name, (2, 3))], {"format": "pt"}) + raw)

    read_back = safetensors.torch.load_file(path)["layers.0.weight"]
    assert read_back.dtype == own.dtype
    assert torch.equal(read_back, own)
    with safetensors.safe_open(path, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}

    file = safetensors.torch.save({"layers.0.weight": own}, {"format": "pt"})
    assert contents(read(file), file) == {"layers.0.weight": (dtype.name, (2, 3), raw)}


TOKENS = [
    *b'{}[]",:\\ 0123456789-.eEatrufnls\n\0\x7f\x80\xc3\xff',
    *[token.encode() for token in ('"a"', '"b"', "\\u0061", "\\ud800", "[]", "{}", "null", "true", "NaN", "1e0", "-0")],
    *[token.encode() for token in ('"__metadata__":{},', '"F16"', '"U32"', '"shape":[', "4294967296", str(2**64 - 1))],
]
SOUND = {
    "a": np.arange(6, dtype="float32").reshape(2, 3),
    "b": np.array(7, "int64"),
    "c": np.zeros((0, 4), "float16"),
    "d\u00fc": np.array([1, 0, 1], bool),
}


def mutated(header: bytearray, dice: random.Random) -> bytes:
    """A header after a few random edits: bytes and tokens put in or over, cut out, doubled or swapped."""
    for _ in range(dice.choice([1, 1, 1, 2, 3, 8])):
        place = dice.randrange(len(header) + 1)
        stop = min(len(header), place + dice.choice([0, 0, 1, 1, 2, 8, 40]))
        token = dice.choice(TOKENS)
        kind = dice.randrange(4)
        if kind == 0:
            header[place:stop] = bytes([token]) if isinstance(token, int) else token
        elif kind == 1:
            header[place:place] = header[place:stop]
        elif kind == 2:
            header[place:stop] = b""
        else:
            other = dice.randrange(len(header) + 1)
            header[place:stop] = header[other : other + stop - place]
    return bytes(header)


def test_whatever_is_done_to_a_header_nothing_gets_through_that_the_library_refuses():
    dice = random.Random(0)  # noqa: S311 - no secret
    sound = safetensors.numpy.save(SOUND, {"format": "pt"})
    head, outcomes = head_bytes(sound, len(sound)), Counter[str]()
    for _ in range(20_000):
        header = mutated(bytearray(sound[8:head]), dice)
        file = file_of(header, sound[head:])
        try:
            layout = read(file)
        except InvalidArgument:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert contents(layout, file) == judged(file), header
    assert min(outcomes["refused"], outcomes["read"]) > 500, outcomes


@settings(max_examples=500)
@given(file=st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_a_refusal(file):
    for start in (file, file_of(b"{" + file)):
        try:
            layout = read(start)
        except InvalidArgument:
            continue
        assert contents(layout, start) == judged(start)

"""safetensors files as the client writes and reads them, against the library of that name."""

import contextlib
import io
import json

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradserve
from gradserve._safetensors import FormatError, check_head, pack, unpack
from tests.client.array_strategies import Array, arrays, dense_arrays

names = st.text(max_size=20).filter(lambda name: name != "__metadata__")


def written(state: dict[str, Array]) -> bytes:
    """Return the file as it would be sent."""
    return b"".join(pack(state).pieces())


def read(content: bytes) -> dict[str, Array]:
    return unpack(np.frombuffer(bytearray(content), np.uint8))


def bits(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    """Return all that makes an array what it is, whatever its NaNs, strides and byte order."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return little.dtype.name, little.shape, little.tobytes()


def file_of(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


class TestPack:
    @given(st.dictionaries(names, arrays(), max_size=5))
    def test_the_library_reads_what_was_written(self, state: dict[str, Array]):
        tensors = {name: (entry["dtype"], entry["shape"], bytes(entry["data"])) for name, entry in library(state)}
        codes = {"bool": "BOOL", "uint8": "U8", "bfloat16": "BF16"}
        for name, array in state.items():
            dtype, shape, data = bits(array)
            code = codes.get(dtype, f"{dtype[0].upper()}{8 * array.itemsize}")
            assert tensors[name] == (code, list(shape), data)

    @given(st.dictionaries(names, arrays(), max_size=5))
    def test_every_tensor_begins_at_a_multiple_of_its_item_size(self, state: dict[str, Array]):
        content = written(state)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        assert header.pop("__metadata__") == {"format": "pt"}
        for entry in header.values():
            item_bytes = max(1, int("".join(filter(str.isdecimal, entry["dtype"])) or 8) // 8)
            assert (8 + length + entry["data_offsets"][0]) % item_bytes == 0

    def test_the_size_is_known_before_anything_is_written(self):
        state = {"a": np.zeros((3, 5), np.float16), "b": np.zeros(7)}
        assert pack(state).total_bytes == len(written(state))

    def test_contiguous_arrays_are_given_from_their_own_memory(self):
        array = np.zeros(1000, np.float32)
        _, piece = pack({"a": array}).pieces()
        assert np.shares_memory(np.frombuffer(piece, np.uint8), array)

    def test_torch_tensors_are_taken_as_they_are(self):
        state = {"weight": torch.randn(2, 3).T, "half": torch.randn(2).bfloat16(), "count": torch.tensor(3)}
        loaded = safetensors.torch.load(written(state))
        assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())

    @pytest.mark.parametrize(
        ("state", "field"),
        [
            ({"__metadata__": np.zeros(1)}, "state_dict"),
            ({1: np.zeros(1)}, "state_dict"),
            ({"w": np.zeros(1, complex)}, "state_dict[w].dtype"),
            ({"w": [[1.0], [1.0, 2.0]]}, "state_dict[w].shape"),
            ({"w": np.zeros((1,) * 9)}, "state_dict[w].shape"),
            ({"w": torch.zeros(1, dtype=torch.complex64)}, "state_dict[w].dtype"),
        ],
        ids=str,
    )
    def test_what_has_no_place_in_a_file_is_named(self, state: dict[str, Array], field: str):
        with pytest.raises(gradserve.InvalidArgumentError) as caught:
            pack(state)
        assert [violation.field for violation in caught.value.field_violations] == [field]

    def test_what_is_no_mapping_is_a_type_error(self):
        with pytest.raises(TypeError, match=r"must map names to arrays, or be a path; got Linear"):
            pack(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


class TestUnpack:
    @given(st.dictionaries(names, dense_arrays(), max_size=5))
    def test_what_was_written_is_read_to_the_bit(self, state: dict[str, Array]):
        assert {name: bits(array) for name, array in read(written(state)).items()} == {
            name: bits(array) for name, array in state.items()
        }

    def test_what_the_library_wrote_is_read_and_its_metadata_left_out(self):
        state = {"w": np.arange(6.0).reshape(2, 3), "n": np.array(3)}
        loaded = read(safetensors.numpy.save(state, metadata={"format": "np"}))
        assert loaded.keys() == state.keys()
        assert all(np.array_equal(loaded[name], array) for name, array in state.items())

    def test_all_arrays_share_the_files_memory_and_can_be_written_to(self):
        content = np.frombuffer(bytearray(written({"a": np.zeros(2), "b": np.zeros(2, ml_dtypes.bfloat16)})), np.uint8)
        for array in unpack(content).values():
            assert np.shares_memory(array, content)
            array[:] = 1

    def test_a_tensor_that_is_not_aligned_is_copied(self):
        entry = {"dtype": "F64", "shape": [1], "data_offsets": [1, 9]}
        head = file_of({"b": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "w": entry})
        array = read(head + b"\1" + np.array([1.5]).tobytes())["w"]
        assert array.flags.aligned
        assert array.tolist() == [1.5]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"1234567",
            (9).to_bytes(8, "little") + b"{}",
            b"\xff" * 16,
            (2).to_bytes(8, "little") + b"[]",
            (2).to_bytes(8, "little") + b"{]",
            (2).to_bytes(8, "little") + b"\xff\xff",
            (10_000).to_bytes(8, "little") + b"[" * 10_000,
            file_of({"w": 3}),
            file_of({"w": {}}),
            file_of({"w": {"dtype": "F32", "shape": [1]}}, bytes(4)),
            file_of({"w": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
            file_of({"w": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
            file_of({"w": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}, bytes(4)),
            file_of({"w": {"dtype": "F32", "shape": ["a"], "data_offsets": [0, 4]}}, bytes(4)),
            file_of({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)),
            file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
            file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
            file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, bytes(4)),
            file_of({"w": {"dtype": "F32", "shape": [2**70], "data_offsets": [0, 2**72]}}, bytes(4)),
        ],
        ids=repr,
    )
    def test_what_is_no_such_file_is_a_format_error(self, content: bytes):
        with pytest.raises(FormatError):
            read(content)

    @given(st.dictionaries(names, dense_arrays(), min_size=1, max_size=2), st.data())
    def test_a_damaged_file_is_read_or_is_a_format_error(self, state: dict[str, Array], data: st.DataObject):
        content = bytearray(written(state))
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(FormatError):
            unpack(np.frombuffer(content, np.uint8))


class TestCheckHead:
    def test_a_sound_file_is_back_at_its_beginning(self):
        content = written({"w": np.zeros(3)})
        stream = io.BytesIO(content)
        check_head(stream, len(content))
        assert stream.tell() == 0

    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "pickle"])
    def test_a_file_of_torch_save_is_told_what_to_do(self, legacy: bool):  # noqa: FBT001 - a parameter of the test
        stream = io.BytesIO()
        torch.save({"w": torch.zeros(1)}, stream, _use_new_zipfile_serialization=not legacy)
        stream.seek(0)
        with pytest.raises(FormatError, match=r"file of torch\.save, which is never read: save it with safetensors"):
            check_head(stream, stream.getbuffer().nbytes)


def library(state: dict[str, Array]) -> list[tuple[str, dict[str, object]]]:
    """Return the tensors that the library finds in the file."""
    tensors: list[tuple[str, dict[str, object]]] = safetensors.deserialize(written(state))
    return tensors

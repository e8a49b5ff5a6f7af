"""The codec: what goes in comes out, and what has no form on the wire is refused by name."""

import math
import struct
import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

from gradserve import codec
from gradserve.v1 import tensor_pb2
from tests.client.array_strategies import DTYPES, Array, arrays

ONES_AT_RANK_9 = np.ones((1,) * 9, np.float32)


def bits(array: Array) -> list[bytes]:
    """Return each element's bits, in the order of .reshape(-1); a single element is in this machine's byte order."""
    return [array[index].tobytes() for index in np.ndindex(array.shape)]


def over_the_wire(array: Array) -> Array:
    return codec.decode(tensor_pb2.Tensor.FromString(codec.encode(array).SerializeToString()))


class TestRoundTrip:
    @given(arrays())
    def test_every_dtype_rank_and_layout_comes_back_bit_by_bit(self, array: Array):
        received = over_the_wire(array)
        assert received.dtype.name == array.dtype.newbyteorder("=").name
        assert received.shape == array.shape
        assert bits(received) == bits(array)

    def test_a_transposed_array_is_sent_as_reshape_sees_it(self):
        array = np.arange(6, dtype=np.int32).reshape(2, 3).T
        assert codec.encode(array).data == struct.pack("<6i", *array.reshape(-1).tolist())

    def test_a_big_endian_array_is_sent_little_endian(self):
        assert codec.encode(np.array([1.5], ">f8")).data == struct.pack("<d", 1.5)

    def test_a_scalar_has_an_empty_shape_and_one_element(self):
        tensor = codec.encode(np.array(2, np.int16))
        assert (list(tensor.shape), tensor.data) == ([], b"\2\0")

    def test_a_decoded_array_shares_the_message_and_so_is_read_only(self):
        received = codec.decode(codec.encode(np.ones(3)))
        assert not received.flags.writeable
        assert not received.flags.owndata


class TestNames:
    @pytest.mark.parametrize("name", DTYPES)
    def test_every_dtype_goes_by_torchs_name(self, name: str):
        tensor = codec.encode(np.zeros(1, DTYPES[name]))
        assert codec.dtype_name(tensor.dtype) == name
        assert codec.dtype_from_name(name) == tensor.dtype

    def test_every_data_type_of_the_wire_has_a_name(self):
        data_types = set(tensor_pb2.DataType.values()) - {tensor_pb2.DATA_TYPE_UNSPECIFIED}
        assert {codec.dtype_name(data_type) for data_type in data_types} == set(DTYPES)

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(codec.TensorError, match="unknown dtype 'float8'; known are bool, ") as caught:
            codec.dtype_from_name("float8")
        assert caught.value.field == "dtype"


class TestEncodeRefuses:
    @pytest.mark.parametrize(
        "dtype",
        ["c8", "U3", "O", "u2", ">u2", "u4", "u8", "g", "M8[s]", "V4", [("a", "f4")], ml_dtypes.float8_e4m3fn],
    )
    def test_a_dtype_that_the_wire_lacks_by_its_name(self, dtype: object):
        array = np.zeros(1, np.dtype(dtype))  # type: ignore[call-overload]
        with pytest.raises(codec.TensorError) as caught:
            codec.encode(array)
        assert caught.value.field == "dtype"
        assert str(array.dtype.newbyteorder("=")) in str(caught.value)

    def test_more_than_eight_dimensions(self):
        with pytest.raises(codec.TensorError, match="at most 8 dimensions are allowed, got 9") as caught:
            codec.encode(ONES_AT_RANK_9)
        assert caught.value.field == "shape"


BAD_MESSAGES = {
    "no dtype": ({"shape": [1], "data": b"1234"}, "dtype", "the dtype is required"),
    "unknown dtype": ({"dtype": 99, "shape": [1], "data": b"1234"}, "dtype", "unknown dtype 99"),
    "negative dimension": ({"dtype": 9, "shape": [2, -1]}, "shape", r"must not be negative, got \[2, -1\]"),
    "rank 9": ({"dtype": 9, "shape": [1] * 9, "data": b"1234"}, "shape", "at most 8 dimensions"),
    "product above 2^63": ({"dtype": 2, "shape": [2**62, 2**62]}, "shape", r"overflows 2\^63"),
    "product above 2^63 beside a zero": ({"dtype": 2, "shape": [0, 2**62, 2**62]}, "shape", r"overflows 2\^63"),
    "bytes above 2^63": ({"dtype": 10, "shape": [2**60]}, "shape", r"overflows 2\^63"),
    "no data": ({"dtype": 9, "shape": [2]}, "data", r"shape \[2\] takes exactly 8 bytes, got 0"),
    "a byte too few": ({"dtype": 9, "shape": [1], "data": b"123"}, "data", "exactly 4 bytes, got 3"),
    "a byte too many": ({"dtype": 9, "shape": [], "data": b"12345"}, "data", "exactly 4 bytes, got 5"),
    "data of an empty shape": ({"dtype": 9, "shape": [0], "data": b"1"}, "data", "exactly 0 bytes, got 1"),
    "a bool of 2": ({"dtype": 1, "shape": [2], "data": b"\1\2"}, "data", "must be the byte 0 or 1"),
}


class TestDecodeRefuses:
    @pytest.mark.parametrize(("fields", "field", "message"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
    def test_a_message_that_breaks_the_format(self, fields: dict[str, object], field: str, message: str):
        with pytest.raises(codec.TensorError, match=message) as caught:
            codec.decode(tensor_pb2.Tensor(**fields))  # type: ignore[arg-type]
        assert caught.value.field == field

    def test_a_million_dimensions_at_once(self):
        tensor = tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_FLOAT32, shape=[1] * 1_000_000, data=b"1234")
        start = time.perf_counter()
        with pytest.raises(codec.TensorError, match="got 1000000"):
            codec.decode(tensor)
        assert time.perf_counter() - start < 0.1


def test_nan_and_infinity_are_values_like_any_other():
    received = over_the_wire(np.array([math.nan, math.inf, -math.inf], np.float16))
    assert [math.isnan(received[0]), received[1], received[2]] == [True, math.inf, -math.inf]

"""Arrays as callers hold them: to numpy as torch would have it, and back to the caller's kind."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradserve import codec
from gradserve._arrays import to_kind_of, to_numpy
from tests.client.array_strategies import DTYPES, Array, dense_arrays

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")),
]
numbers = st.sampled_from([True, -1, 2**40, 1.5, np.float64(0.1), np.float32(0.1), np.int64(3)])
lists = st.lists(numbers, min_size=1, max_size=4)
nested_lists = lists | st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=3) | lists.map(tuple)


def torch_tensor(array: Array) -> torch.Tensor:
    """Return the array's bits as a tensor of the dtype of the same name."""
    raw = torch.frombuffer(bytearray(array.tobytes() or b"\0"), dtype=torch.uint8)[: array.nbytes]
    return raw.view(getattr(torch, array.dtype.name)).reshape(array.shape)


class TestFromTorch:
    @given(dense_arrays(), st.data())
    def test_every_dtype_rank_and_layout_goes_over_the_wire_and_back(self, array: Array, data: st.DataObject):
        tensor = torch_tensor(array).permute(data.draw(st.permutations(range(array.ndim))))
        received = codec.decode(codec.encode(to_numpy(tensor))).copy()
        returned = to_kind_of(tensor, received)
        assert (returned.dtype, returned.shape) == (tensor.dtype, tensor.shape)
        integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
        assert torch.equal(returned.contiguous().view(integers), tensor.contiguous().view(integers))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_a_tensor_in_a_graph_is_sent_without_it(self, dtype: torch.dtype):
        tensor = torch.ones(2, dtype=dtype, requires_grad=True) * 2
        assert to_numpy(tensor).tolist() == [2, 2]

    @pytest.mark.parametrize("device", DEVICES)
    def test_what_comes_back_is_on_the_device_of_what_was_sent(self, device: str):
        tensor = torch.ones(2, device=device)
        assert to_kind_of(tensor, to_numpy(tensor)).device == tensor.device

    @pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn, torch.uint16])
    def test_a_dtype_that_the_wire_lacks_is_refused_by_name(self, dtype: torch.dtype):
        with pytest.raises(codec.TensorError, match=str(dtype).removeprefix("torch.")):
            to_numpy(torch.zeros(1, dtype=dtype))


class TestFromPython:
    @pytest.mark.parametrize(
        ("value", "dtype"),
        [
            (1.5, "float32"),
            (2, "int64"),
            (True, "bool"),
            ([1.5, 2], "float32"),
            ([True, 2], "int64"),
            (([1, 2], [3, 4]), "int64"),
            ([], "float32"),
            ([[]], "float32"),
            ([np.float64(1.5), 2.0], "float64"),
            ([[np.float32(1.5)], [2.0]], "float32"),
            (np.float64(1.5), "float64"),
            (range(3), "int64"),
        ],
    )
    def test_numbers_have_the_dtype_that_torch_gives_them(self, value: Any, dtype: str):
        assert to_numpy(value).dtype.name == dtype
        assert str(torch.tensor(value).dtype) == f"torch.{dtype}"

    @given(numbers | nested_lists)
    def test_nested_lists_are_what_torch_makes_of_them(self, value: Any):
        expected = torch.tensor(value)
        array = to_numpy(value)
        assert (f"torch.{array.dtype}", array.shape) == (str(expected.dtype), tuple(expected.shape))
        assert array.tolist() == expected.tolist()

    def test_ragged_lists_are_refused(self):
        with pytest.raises(codec.TensorError, match="inhomogeneous") as caught:
            to_numpy([[1.0], [2.0, 3.0]])
        assert caught.value.field == "shape"


class TestFromNumpy:
    @pytest.mark.parametrize("name", DTYPES)
    def test_an_array_is_taken_as_it_is(self, name: str):
        array = np.zeros((2, 3), DTYPES[name])
        assert to_numpy(array) is array

    @pytest.mark.parametrize("value", [np.zeros(1), [0.0], 0.0, np.float64(1)])
    def test_numpy_comes_back_for_all_but_torch(self, value: Any):
        array = np.ones(2)
        assert to_kind_of(value, array) is array


def test_numpy_lists_and_numbers_need_no_torch():
    program = (
        "import sys, numpy, gradserve._arrays as a; a.to_numpy([1.0]); a.to_kind_of(1.0, a.to_numpy(numpy.ones(2)));"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

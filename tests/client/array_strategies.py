"""Arrays of every dtype, rank and layout that the wire has a form for."""

import math
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES = {
    "bool": np.dtype(np.bool_),
    "uint8": np.dtype(np.uint8),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}

shapes = st.integers(0, 8).flatmap(
    lambda rank: st.lists(st.integers(0, 4 if rank < 5 else 2), min_size=rank, max_size=rank).map(tuple)
)


@st.composite
def dense_arrays(draw: st.DrawFn) -> Array:
    """Draw an array of any bits, NaNs with payload and all, in row-major order."""
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    shape = draw(shapes)
    size = math.prod(shape) * dtype.itemsize
    data = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    return (data % 2 if dtype == np.bool_ else data).view(dtype).reshape(shape)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Draw an array as slicing, transposing, broadcasting and byte-swapping leave it in memory."""
    array = draw(dense_arrays())
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    steps = draw(st.lists(st.sampled_from([1, -1, 2, -2]), min_size=array.ndim, max_size=array.ndim))
    array = array[tuple(slice(None, None, step) for step in steps)]
    if array.ndim and draw(st.booleans()):
        array = np.broadcast_to(array[:1], array.shape)
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    if draw(st.booleans()):
        array = array.byteswap().view(array.dtype.newbyteorder(">"))
    return array

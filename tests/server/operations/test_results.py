"""Results of operations."""

import ml_dtypes
import numpy as np
import pytest

from gradserve_server.operations.results import ForwardResult, GradientResult

SHAPES = [(), (0,), (1,), (2, 3), (2, 0, 3), (9000,)]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_whose_squares_overflow_are_finite(dtype, shape):
    largest = ml_dtypes.finfo(dtype).max
    assert ForwardResult(np.full(shape, largest, dtype), None).is_finite


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if np.prod(shape)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_seen(dtype, shape, value):
    array = np.ones(shape, dtype)
    array.reshape(-1)[-1] = value
    assert not ForwardResult(array, None).is_finite


def test_every_array_of_a_gradient_counts():
    one, bad = np.ones(2), np.full(2, np.nan)
    assert GradientResult(one, one, {"input": one}, None).is_finite
    assert GradientResult(None, None, {}, None).is_finite
    assert not GradientResult(bad, one, {"input": one}, None).is_finite
    assert not GradientResult(one, bad, {"input": one}, None).is_finite
    assert not GradientResult(one, one, {"input": one, "a": bad}, None).is_finite

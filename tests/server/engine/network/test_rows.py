"""Rows of several requests in one tensor."""

import ml_dtypes
import numpy as np
import pytest
import torch

from gradserve_server.engine.network.rows import join

CPU = torch.device("cpu")
ROWS = np.arange(24.0).reshape(6, 4)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_rows_lie_behind_each_other_whatever_the_shapes_they_came_in(dtype):
    parts = [ROWS[0], ROWS[1:3], ROWS[3:5].reshape(1, 2, 4), ROWS[5:]]

    joined = join([part.astype(dtype) for part in parts], (4,), torch.float64, CPU)

    assert joined.dtype is torch.float64
    np.testing.assert_array_equal(joined.numpy(), ROWS)


def test_rows_of_several_dtypes_become_one():
    joined = join([ROWS[:2].astype(np.float16), ROWS[2:]], (4,), torch.float32, CPU)

    assert joined.dtype is torch.float32
    np.testing.assert_array_equal(joined.numpy(), ROWS)


def test_rows_that_do_not_lie_in_order_are_put_in_order():
    joined = join([ROWS[:3].T.copy().T, ROWS[3:, ::-1][:, ::-1]], (4,), torch.float64, CPU)

    np.testing.assert_array_equal(joined.numpy(), ROWS)

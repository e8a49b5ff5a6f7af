"""Writing tensors into files."""

import warnings

import click
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as npst

from gradserve.cli.tensors.csv_table import parse_csv
from gradserve.cli.tensors.writing import csv_lines, write_tensors


def fail() -> str:
    pytest.fail("only .json needs the document")


@pytest.mark.parametrize(
    ("shape", "lines"),
    [
        ((), ["0.5"]),
        ((2,), ["0.5", "0.5"]),
        ((1, 2), ["0.5,0.5"]),
        ((2, 1), ["0.5", "0.5"]),
        ((2, 1, 2), ["0.5,0.5", "0.5,0.5"]),
        ((0,), []),
        ((0, 3), []),
        ((2, 0), ["", ""]),
    ],
)
def test_csv_has_a_line_for_each_row_of_the_last_dimension(shape, lines):
    assert csv_lines(np.full(shape, 0.5, np.float32)) == lines


@settings(deadline=None)
@given(npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2)))
def test_csv_gives_the_same_float32_numbers_back(array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        read = parse_csv("\n".join(csv_lines(array)).encode()).astype(np.float32)
    np.testing.assert_array_equal(read, array)


def test_integers_and_bools_are_plain_in_csv():
    assert csv_lines(np.array([[1, -2]])) == ["1,-2"]
    assert csv_lines(np.array([[True]])) == ["True"]


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_bfloat16_is_written_as_the_float32_that_equals_it(tmp_path, suffix):
    array = np.float32([0.1, 3e38]).astype(ml_dtypes.bfloat16)
    write_tensors(tmp_path / f"x.{suffix}", {"x": array}, fail)
    loaded = np.load(tmp_path / f"x.{suffix}", allow_pickle=False)
    read = loaded if suffix == "npy" else loaded["x"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, array.astype(np.float32))
    if suffix == "npz":
        loaded.close()


def test_json_is_the_document_and_a_newline(tmp_path):
    write_tensors(tmp_path / "x.JSON", {}, lambda: '{"a": 1}')
    assert (tmp_path / "x.JSON").read_text() == '{"a": 1}\n'


def test_npz_keeps_every_name(tmp_path):
    tensors = {"layers.0.weight": np.zeros(1), "loss": np.ones(()), "file": np.ones(2), "allow_pickle": np.ones(3)}
    write_tensors(tmp_path / "x.npz", tensors, fail)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert {name: archive[name].shape for name in archive.files} == {n: t.shape for n, t in tensors.items()}


@pytest.mark.parametrize("suffix", ["npy", "csv"])
@pytest.mark.parametrize("count", [0, 2])
def test_one_tensor_formats_refuse_any_other_number(tmp_path, suffix, count):
    tensors = {f"t{index}": np.zeros(1) for index in range(count)}
    with pytest.raises(click.UsageError, match=rf"\.{suffix} holds one tensor, not {count}"):
        write_tensors(tmp_path / f"x.{suffix}", tensors, fail)
    assert not (tmp_path / f"x.{suffix}").exists()


def test_a_file_that_is_there_is_replaced_whole(tmp_path):
    (tmp_path / "x.csv").write_text("old\n" * 100)
    write_tensors(tmp_path / "x.csv", {"x": np.zeros((1, 1))}, fail)
    assert (tmp_path / "x.csv").read_text() == "0.0\n"

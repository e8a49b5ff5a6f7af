"""What a tensor becomes in its place: the dtype and the shape of text."""

import numpy as np
import pytest

from gradserve.cli.tensors.casting import DTYPES
from gradserve.cli.tensors.reading import Place, read_tensor
from gradserve.cli.tensors.source import SourceError


@pytest.fixture
def table(tmp_path):
    """Write a CSV file and give its name."""

    def write(text: str) -> str:
        (tmp_path / "t.csv").write_text(text)
        return str(tmp_path / "t.csv")

    return write


@pytest.mark.parametrize(
    ("text", "place", "dtype", "shape"),
    [
        ("[[1, 2]]", Place.VALUES, "float32", (1, 2)),
        ("[[1.5, 2]]", Place.VALUES, "float32", (1, 2)),
        ("[[1, 2]]", Place.CLASSES, "int64", (1, 2)),
        ("[[1.5, 2]]", Place.CLASSES, "float32", (1, 2)),
        ("[1, 2]", Place.ARGUMENT, "float32", (2,)),
        ("[[1, 2]]", Place.ARGUMENT, "float32", (1, 2)),
        ("2", Place.CLASSES, "int64", ()),
        ("[true]", Place.VALUES, "bool", (1,)),
        ('{"dtype": "int16", "data": [1]}', Place.VALUES, "int16", (1,)),
        ('{"dtype": "float16", "data": [1]}', Place.CLASSES, "float16", (1,)),
    ],
)
def test_json_becomes_what_its_place_asks_for(text, place, dtype, shape):
    array = read_tensor(text, place)
    assert (array.dtype.name, array.shape) == (dtype, shape)


@pytest.mark.parametrize(
    ("text", "place", "dtype", "shape"),
    [
        ("1\n2\n3", Place.VALUES, "float32", (3, 1)),
        ("1,2,3", Place.VALUES, "float32", (1, 3)),
        ("1\n2\n3", Place.CLASSES, "int64", (3,)),
        ("1", Place.CLASSES, "int64", (1,)),
        ("1,2,3", Place.CLASSES, "int64", (1, 3)),
        ("1,0\n0,1", Place.CLASSES, "int64", (2, 2)),
        ("0.5\n1", Place.CLASSES, "float32", (2, 1)),
        ("1\n2\n3", Place.ARGUMENT, "float32", (3,)),
        ("1,2,3", Place.ARGUMENT, "float32", (3,)),
        ("1,2\n3,4", Place.ARGUMENT, "float32", (2, 2)),
    ],
)
def test_a_csv_table_takes_the_shape_that_its_place_asks_for(table, text, place, dtype, shape):
    array = read_tensor(table(text), place)
    assert (array.dtype.name, array.shape) == (dtype, shape)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_named_dtype_is_given_to_every_floating_tensor(table, dtype):
    for argument in ("[1, 2]", "[1.5]", table("1,2"), '{"dtype": "int16", "data": [1]}', "[true]"):
        assert read_tensor(argument, Place.VALUES, dtype).dtype.name == dtype


@pytest.mark.parametrize("argument", ["[0, 2]", '{"dtype": "int32", "data": [0, 2]}'])
def test_class_ids_keep_their_dtype(argument):
    assert read_tensor(argument, Place.CLASSES, "float64").dtype.kind == "i"


def test_text_is_rounded_once_to_float32_as_torch_rounds_it():
    assert read_tensor("[0.1]")[0] == np.float32(0.1)


def test_text_too_large_for_its_dtype_is_infinite_without_a_warning():
    assert read_tensor("[1e300]")[0] == np.inf
    assert read_tensor("[1e30]", Place.VALUES, "float16")[0] == np.inf


def test_a_file_in_numpys_format_keeps_its_dtype(tmp_path):
    for name, dtype in DTYPES.items():
        if name == "bfloat16":
            continue
        np.save(tmp_path / "x.npy", np.ones(2, dtype))
        assert read_tensor(str(tmp_path / "x.npy")).dtype == dtype


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.npy", b"junk", "x.npy: it is not a sound .npy file"),
        ("x.npz", b"junk", "x.npz: it is not a sound .npz file"),
        ("x.csv", b"1,2\n3", "x.csv: line 2 has 1 columns"),
        ("x.json", b"[null]", "x.json: null is not a number"),
        ("x", b"junk", "x: it holds no numbers"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=says) as refused:
        read_tensor(str(tmp_path / name))
    assert refused.value.exit_code == 2

"""Tensors as JSON."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gradserve.cli.pages.page import dump
from gradserve.cli.tensors.casting import DTYPES
from gradserve.cli.tensors.json_tensor import parse_json, tensor_document

WORDS = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}


@settings(deadline=None)
@given(
    npst.arrays(
        st.sampled_from(["?", "u1", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"]), npst.array_shapes(min_dims=0)
    )
)
def test_what_is_written_is_read_back_exactly(array):
    read, typed = parse_json(dump(tensor_document(array)).encode())
    assert typed
    np.testing.assert_array_equal(read, array, strict=True)


@settings(deadline=None)
@given(npst.arrays(np.float32, npst.array_shapes(min_dims=0)))
def test_bfloat16_is_read_back_exactly(array):
    with np.errstate(all="ignore"):
        array = array.astype(ml_dtypes.bfloat16)
    read, _ = parse_json(dump(tensor_document(array)).encode())
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read.astype(np.float64), array.astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0), (1, 2, 3)])
def test_every_dtype_and_shape_goes_both_ways(dtype, shape):
    array = np.ones(shape, DTYPES[dtype])
    document = tensor_document(array)
    assert (document["dtype"], document["shape"]) == (dtype, list(shape))
    read, _ = parse_json(dump(document).encode())
    assert (read.dtype, read.shape) == (array.dtype, shape)


def test_nan_and_infinities_are_words_because_json_has_no_such_numbers():
    document = tensor_document(np.float32([[np.nan, np.inf], [-np.inf, 1]]))
    assert document["data"] == [["NaN", "Infinity"], ["-Infinity", 1.0]]
    assert tensor_document(np.float32(np.nan).reshape(()))["data"] == "NaN"


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("[[1, 2], [3, 4]]", np.int64, [[1, 2], [3, 4]]),
        ("[1, 2.5]", np.float64, [1, 2.5]),
        ("[true, false]", np.bool_, [True, False]),
        ("3", np.int64, 3),
        ("[]", np.float64, []),
        ("[[], []]", np.float64, [[], []]),
        ('["NaN", 1, "-Infinity"]', np.float64, [np.nan, 1, -np.inf]),
        ("[NaN, Infinity]", np.float64, [np.nan, np.inf]),
        ("[1e999]", np.float64, [np.inf]),
        ("\ufeff[1]", np.int64, [1]),
        ('{"data": [1, 2]}', np.int64, [1, 2]),
        ('{"data": [1, 2, 3, 4], "shape": [2, 2]}', np.int64, [[1, 2], [3, 4]]),
    ],
)
def test_text_without_a_dtype_is_read_as_numpy_reads_lists(text, dtype, expected):
    read, typed = parse_json(text.encode())
    assert not typed
    np.testing.assert_array_equal(read, np.array(expected, dtype), strict=True)


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ('{"dtype": "int32", "data": [1, 2]}', np.int32, [1, 2]),
        ('{"dtype": "int32", "data": [1.0, 2]}', np.int32, [1, 2]),
        ('{"dtype": "bool", "data": [1, 0]}', np.bool_, [True, False]),
        ('{"dtype": "float16", "data": 0.1}', np.float16, 0.1),
        ('{"dtype": "float32", "shape": [0, 3], "data": []}', np.float32, np.zeros((0, 3))),
        ('{"dtype": "float32", "shape": [1, 2], "data": [[1, 2]]}', np.float32, [[1, 2]]),
    ],
)
def test_an_object_may_name_dtype_and_shape(text, dtype, expected):
    read, typed = parse_json(text.encode())
    assert typed
    np.testing.assert_array_equal(read, np.array(expected, dtype), strict=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[1, 2", "not JSON: Expecting ',' delimiter: line 1 column 6"),
        ("[1] [2]", "not JSON: Extra data"),
        ("[[1, 2], [3]]", "ragged"),
        ("[1, [2]]", "ragged"),
        ('["1"]', '"1" is not a number'),
        ('["nan"]', '"nan" is not a number'),
        ('"text"', '"text" is not a number'),
        ("[null]", "null is not a number"),
        ('[{"a": 1}]', "is not a number"),
        ('{"data": [1], "dytpe": "int64"}', 'may hold "dtype" and "shape", and nothing else'),
        ('{"shape": [1]}', 'must hold "data"'),
        ("{}", 'must hold "data"'),
        ('{"data": {"data": 1}}', "is not a number"),
        ('{"data": [1], "dtype": "complex64"}', "unknown dtype 'complex64'; known are bool, uint8"),
        ('{"data": [1], "dtype": ["int64"]}', "unknown dtype"),
        ('{"data": [1], "dtype": null}', "unknown dtype None"),
        ('{"data": [1.5], "dtype": "int64"}', "cannot be kept exactly as int64"),
        ('{"data": [300], "dtype": "uint8"}', "cannot be kept exactly as uint8"),
        ('{"data": ["NaN"], "dtype": "int64"}', "cannot be kept exactly as int64"),
        ('{"data": [2], "dtype": "bool"}', "cannot be kept exactly as bool"),
        ('{"data": [1, 2], "shape": [3]}', r"\"data\" of shape \[2\] does not fit \"shape\" \[3\]"),
        ('{"data": [[1, 2]], "shape": [2, 1]}', "does not fit"),
        ('{"data": [1], "shape": 1}', '"shape" must be a list of sizes'),
        ('{"data": [1], "shape": [1.0]}', '"shape" must be a list of sizes'),
        ('{"data": [1], "shape": [true]}', '"shape" must be a list of sizes'),
        ('{"data": [1], "shape": [-1]}', '"shape" must be a list of sizes'),
        (f'{{"data": [], "shape": [0, {2**62}, {2**62}]}}', "."),
        (f"[{2**70}]", "must fit into int64"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100 + "]" * 100, "nested too deeply"),
        ("[" * 900 + "1" + "]" * 900, "nested too deeply"),
        ("9" * 5000, "."),
    ],
)
def test_what_is_not_a_tensor_is_refused_with_the_reason(text, says):
    with pytest.raises(ValueError, match=says):
        parse_json(text.encode())


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[\xff]"])
def test_what_is_not_text_is_refused(content):
    with pytest.raises(ValueError, match=r"not text in UTF-8|not JSON"):
        parse_json(content)


def test_a_document_is_one_line_of_ascii():
    assert json.loads(dump({"name": "ä\n"})) == {"name": "ä\n"}
    assert dump({"name": "ä\n"}).isascii()
    assert "\n" not in dump({"name": "ä\n"})

"""Tensors as JSON, both ways: exact, and valid JSON whatever they hold."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gradserve.cli.tensors.casting import DTYPES, cast, is_floating

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradserve.cli.tensors.casting import Array

__all__ = ["parse_json", "tensor_document"]

# JSON has no such numbers; these are the words of protobuf's JSON mapping.
_NONFINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def tensor_document(array: Array) -> dict[str, Any]:
    """Return the tensor as {"dtype", "shape", "data"}, its elements in nested lists.

    A floating element is written as the double that equals it, so that reading it back gives it exactly; NaN and the
    infinities are the words "NaN", "Infinity" and "-Infinity".
    """
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": _elements(array)}


def parse_json(data: bytes) -> tuple[Array, bool]:
    """Return a tensor from JSON, and whether it names its dtype.

    It is a number or nested lists of numbers (int64, float64 or bool), or an object as `tensor_document` gives it, in
    which "dtype" and "shape" may be left out, and "data" may be flat.

    Raises:
        ValueError: It is not JSON, not a tensor, ragged, or holds something other than numbers.
    """
    try:
        document = json.loads(data)
        if isinstance(document, dict):
            return _from_object(document), "dtype" in document
        return _from_lists(document), False
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("its lists are nested too deeply") from None


def _elements(array: Array) -> Any:  # noqa: ANN401 - nested to the array's rank
    if not is_floating(array):
        return array.tolist()
    wide = array.astype(np.float64)
    if np.isfinite(wide).all():
        return wide.tolist()
    elements = np.array(wide, object)
    elements[np.isnan(wide)] = "NaN"
    elements[wide == math.inf] = "Infinity"
    elements[wide == -math.inf] = "-Infinity"
    return elements.tolist()


def _from_object(document: Mapping[str, Any]) -> Array:
    if not {"data"} <= document.keys() <= {"dtype", "shape", "data"}:
        raise ValueError('an object must hold "data", and may hold "dtype" and "shape", and nothing else')
    array = _from_lists(document["data"])
    if "dtype" in document:
        if document["dtype"] not in tuple(DTYPES):
            raise ValueError(f"unknown dtype {document['dtype']!r}; known are {', '.join(DTYPES)}")
        array = cast(array, document["dtype"])
    return _shaped(array, document.get("shape", list(array.shape)))


def _shaped(array: Array, shape: object) -> Array:
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError('"shape" must be a list of sizes')
    # Only flat data takes a shape: nested lists have one already, and another would hide a mistake.
    if list(array.shape) != shape and (array.ndim != 1 or array.size != math.prod(shape)):
        raise ValueError(f'"data" of shape {list(array.shape)} does not fit "shape" {shape}')
    return array.reshape(shape)


def _from_lists(value: object) -> Array:
    numbers = _numbers(value)
    try:
        array = np.array(numbers)
    except ValueError:
        raise ValueError("its lists are ragged or nested too deeply: all lists of one level must be as long") from None
    if array.dtype.kind not in "bif":
        raise ValueError("its integers must fit into int64")
    return array


def _numbers(value: object) -> object:
    """Return nested lists with words replaced by the numbers that they stand for."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and value in _NONFINITE:
        return _NONFINITE[value]
    if not isinstance(value, int | float):
        raise ValueError(f"{json.dumps(value)[:40]} is not a number")  # noqa: TRY004 - wrong in the file, not in code
    return value

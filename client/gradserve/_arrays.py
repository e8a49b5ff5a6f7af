"""Arrays as callers hold them: numpy arrays, torch tensors, lists and numbers; to numpy, and back to their kind.

torch is never imported here: who passes a torch tensor has imported it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import ml_dtypes
import numpy as np
import numpy.typing as npt

from gradserve import codec

T_co = TypeVar("T_co", covariant=True)


class TorchTensor(Protocol[T_co]):
    """What tells a torch tensor to a type checker; T_co is torch.Tensor, also for an nn.Parameter."""

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it."""

    def detach(self) -> T_co:
        """Return the tensor without its history."""


Array: TypeAlias = npt.NDArray[Any]
ArrayLike: TypeAlias = npt.ArrayLike | TorchTensor[Any]

_BFLOAT16: Final = np.dtype(ml_dtypes.bfloat16)


def to_numpy(value: ArrayLike) -> Array:
    """Return the value as a numpy array in the dtype that torch gives it.

    Arrays and tensors keep theirs. Of Python numbers, alone or in nested lists, floats are float32, ints int64 and
    bools bool, as torch.tensor makes them. Nothing is copied that need not be.

    Raises:
        codec.TensorError: The nested lists are ragged, or a torch dtype has no form on the wire.
    """
    if isinstance(value, np.ndarray):
        return value
    torch = _torch_of(value)
    if torch is not None:
        return _from_torch(value, torch)
    return _from_python(value)


def to_kind_of(value: Any, array: Array) -> Any:  # noqa: ANN401 - the caller's overloads name the types
    """Return the array in the kind of value: a torch tensor on its device, else a numpy array.

    A torch tensor shares the array's memory where it can.
    """
    torch = _torch_of(value)
    if torch is None:
        return array
    if array.dtype == _BFLOAT16:
        tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array)
    return tensor.to(value.device)


def _torch_of(value: object) -> ModuleType | None:
    """Return the torch module if value is one of its tensors."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(value, torch.Tensor) else None


def _from_torch(tensor: Any, torch: ModuleType) -> Array:  # noqa: ANN401 - torch is not imported
    codec.dtype_from_name(str(tensor.dtype).removeprefix("torch."))
    if tensor.dtype == torch.bfloat16:
        # numpy has no bfloat16 of its own, so the bits travel as integers.
        bits: Array = tensor.detach().view(torch.int16).numpy(force=True)
        return bits.view(_BFLOAT16)
    array: Array = tensor.numpy(force=True)
    return array


def _from_python(value: Any) -> Array:  # noqa: ANN401 - anything that numpy takes
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise codec.TensorError("shape", str(error)) from error
    # numpy makes float64 of Python's floats. Whatever brought a dtype of its own has chosen float64, and keeps it.
    if array.dtype == np.float64 and isinstance(value, list | tuple | float) and not _holds_float64(value):
        return array.astype(np.float32)
    return array


def _holds_float64(value: Any) -> bool:  # noqa: ANN401 - nested lists of anything
    if isinstance(value, list | tuple):
        return any(map(_holds_float64, value))
    return getattr(value, "dtype", None) == np.float64

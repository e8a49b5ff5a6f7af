"""torch's refusals, told apart: the request's fault, a missing kernel, no memory. Anything else is a bug."""

from __future__ import annotations

import re
from types import TracebackType

import torch

from gradserve_server.engine.tensors import dtype_name
from gradserve_server.errors import InvalidArgument, ResourceExhausted, ServiceError, Unimplemented

_NO_KERNEL = re.compile(r"not implemented for '|does not have a deterministic implementation|[Cc]ould not run '")
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory")
_DEVICE_FAULT = re.compile(r"CUDA error|CUBLAS_STATUS|cuDNN error|MPS backend")


class torch_refusals:  # noqa: N801 - used as contextlib's are; a class, as a generator costs a microsecond
    """Turns what torch raises inside the block into what the caller is told.

    Everything that this package can check was checked before; so a RuntimeError, ValueError or IndexError of torch
    is a refusal of the request's values, in torch's own words.

    Raises:
        Unimplemented: If torch has no kernel; names operation, dtype and device.
        ResourceExhausted: If the device is out of memory.
        InvalidArgument: If torch refuses the request for another reason.
    """

    def __init__(self, operation: str, dtype: torch.dtype, device: torch.device) -> None:
        self._operation = operation
        self._dtype = dtype
        self._device = device

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Raise what the caller is told, if anything was raised."""
        if isinstance(error, (RuntimeError, ValueError, IndexError)):
            refusal = self._refusal(error)
            if refusal is not None:
                raise refusal from error

    def _refusal(self, error: Exception) -> ServiceError | None:
        text = _first_line(error)
        where = f"{self._operation} in {dtype_name(self._dtype)} on {self._device}"
        if isinstance(error, NotImplementedError) or _NO_KERNEL.search(text):
            return Unimplemented(f"torch has no kernel for {where}: {text}")
        if _NO_MEMORY.search(text):
            message = f"{self._device} is out of memory for this {self._operation}"
            return ResourceExhausted(message, reason="OUT_OF_MEMORY")
        if _DEVICE_FAULT.search(text):
            return None
        return InvalidArgument(f"torch refuses this {where}: {text}", reason="REFUSED_BY_TORCH")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

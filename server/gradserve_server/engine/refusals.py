"""torch's refusals, told apart: the request's fault, a missing kernel, no memory. Anything else is a bug."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gradserve_server.engine.tensors import dtype_name
from gradserve_server.errors import InvalidArgument, ResourceExhausted, ServiceError, Unimplemented

_NO_KERNEL = re.compile(r"not implemented for '|does not have a deterministic implementation|[Cc]ould not run '")
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory")
_DEVICE_FAULT = re.compile(r"CUDA error|CUBLAS_STATUS|cuDNN error|MPS backend")


@contextmanager
def torch_refusals(operation: str, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Turn what torch raises inside the block into what the caller is told.

    Everything that this package can check was checked before; so a RuntimeError, ValueError or IndexError of torch
    is a refusal of the request's values, in torch's own words.

    Raises:
        Unimplemented: If torch has no kernel; names operation, dtype and device.
        ResourceExhausted: If the device is out of memory.
        InvalidArgument: If torch refuses the request for another reason.
    """
    where = f"{operation} in {dtype_name(dtype)} on {device}"
    try:
        yield
    except ServiceError:
        raise
    except NotImplementedError as error:
        raise Unimplemented(f"torch has no kernel for {where}: {_first_line(error)}") from error
    except (RuntimeError, ValueError, IndexError) as error:
        text = _first_line(error)
        if _NO_MEMORY.search(text):
            message = f"{device} is out of memory for this {operation}"
            raise ResourceExhausted(message, reason="OUT_OF_MEMORY") from error
        if _DEVICE_FAULT.search(text):
            raise
        if _NO_KERNEL.search(text):
            raise Unimplemented(f"torch has no kernel for {where}: {text}") from error
        raise InvalidArgument(f"torch refuses this {where}: {text}", reason="REFUSED_BY_TORCH") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

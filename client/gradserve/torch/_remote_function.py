"""What the functions of a remote model have in common: their type, and what they keep for their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch.autograd import Function

from gradserve.torch._leaves import Indices, MaybeTensor
from gradserve.torch._remote_call import RemoteCall


class Context(Protocol):
    """What torch hands to the methods of a function, and what `keep` adds to it."""

    call: RemoteCall
    wrt: Indices
    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Any, ...]


class VmapInfo(Protocol):
    """What torch tells of a vmap."""

    batch_size: int


class RemoteFunction(Function):
    """torch's, typed."""

    if TYPE_CHECKING:

        @classmethod
        def apply(cls, *args: Any) -> Any: ...  # noqa: ANN401 - torch gives it no type at all


def keep(ctx: Any, call: RemoteCall, wrt: Indices, tensors: Sequence[MaybeTensor]) -> None:  # noqa: ANN401 - torch's
    """Keep a call, and what it was made with, for derivatives in either mode."""
    ctx.call, ctx.wrt = call, wrt
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)
    # What has no gradient then is None rather than zeros, and costs no call.
    ctx.set_materialize_grads(False)

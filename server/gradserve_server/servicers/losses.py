"""Losses of requests, read so that a refusal names the field."""

from __future__ import annotations

from collections.abc import Mapping

from gradserve.v1 import inference_pb2
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.calls import LossArgument, LossCall
from gradserve_server.servicers.tensors import read_tensor

_MOST_ARGUMENTS = 16


def read_loss(loss: inference_pb2.Loss) -> LossCall:
    """The loss of a request's field `loss`.

    Raises:
        InvalidArgument: If a tensor is malformed, an argument has no value, or there are too many.
    """
    return LossCall(
        name=loss.name,
        target=read_tensor(loss.target, "loss.target") if loss.HasField("target") else None,
        reduction=loss.reduction,
        arguments=_arguments(loss.arguments),
    )


def _arguments(arguments: Mapping[str, inference_pb2.LossArgument]) -> dict[str, LossArgument]:
    if len(arguments) > _MOST_ARGUMENTS:
        raise InvalidArgument(f"no loss takes {len(arguments)} arguments", field="loss.arguments")
    values: dict[str, LossArgument] = {}
    for name, argument in arguments.items():
        path = f"loss.arguments[{name}]"
        kind = argument.WhichOneof("value")
        if kind is None:
            raise InvalidArgument(f"argument {name!r} has no value", field=path)
        value = getattr(argument, kind)
        values[name] = read_tensor(value, path) if kind == "tensor_value" else value
    return values

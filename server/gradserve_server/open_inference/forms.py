"""The forms of ModelInferRequests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gradserve_server.gradient_names import split
from gradserve_server.open_inference.grpc_service_pb2 import ModelInferRequest
from gradserve_server.open_inference.requests import forward_call, gradient_call
from gradserve_server.operations.calls import ForwardCall
from gradserve_server.servicers.forms import Forms, Reading


class ReadableInfer(NamedTuple):
    """A ModelInferRequest that was parsed.

    Attributes:
        model_name: The name of the model that is asked.
        request: All that is asked but the numbers, which may not be there.
        read: Gives with what; raises ServiceError where that is malformed.
    """

    model_name: str
    request: ModelInferRequest
    read: Callable[[], ForwardCall]


def infer_call(request: ModelInferRequest) -> ForwardCall:
    """What is asked of NAME or of NAME.gradient.

    Raises:
        ServiceError: If the request is not whole.
    """
    _, of_gradient = split(request.model_name)
    return gradient_call(request) if of_gradient else forward_call(request)


def infer_forms() -> Forms[ForwardCall]:
    """Those of ModelInfer."""
    return Forms(
        Reading(
            ModelInferRequest,
            lambda request: (request.model_name, request),
            ReadableInfer,
            infer_call,
            {("raw_input_contents",): lambda call: call.input},
            _is_lasting,
        )
    )


def _is_lasting(request: ModelInferRequest) -> bool:
    # Who gives an id gives another one the next time; of several tensors it is not known where one ends.
    return not (request.id or request.model_version) and len(request.raw_input_contents) == 1

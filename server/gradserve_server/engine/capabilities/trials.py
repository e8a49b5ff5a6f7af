"""Which derivatives a model can be asked for: tried on two rows, once for all models that are alike."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from gradserve_server.engine.gradients import gradient
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.products import hvp, jvp
from gradserve_server.errors import ServiceError, Unimplemented
from gradserve_server.operations.calls import GradientCall, HvpCall, JvpCall
from gradserve_server.operations.results import Result
from gradserve_server.selection import INPUT

_REMEMBERED = 1024


@dataclass(frozen=True)
class _Trial:
    """A model to try. Equal ones support the same, as that depends on what is compared here.

    Attributes:
        layer_types: Of the model.
        rank: Of its input.
        dtype: What it computes in.
        device_type: Such as "cpu".
        input_shape: An input that it takes.
        output_shape: Of its output then.
        model: The model; it is not kept alive.
    """

    layer_types: frozenset[str]
    rank: int
    dtype: torch.dtype
    device_type: str
    input_shape: Shape = field(compare=False)
    output_shape: Shape = field(compare=False)
    model: weakref.ref[Model] = field(compare=False)


def supported_derivatives(model: Model, input_shape: Shape, output_shape: Shape) -> tuple[str, ...]:
    """The operations beside Forward that a model supports; on its device's thread.

    Raises:
        ServiceError: If one is refused for another reason than that torch lacks a kernel or a derivative.
    """
    types = frozenset(layer.type for layer in model.blueprint.architecture.layers)
    device = model.device.type
    trial = _Trial(types, len(input_shape), model.dtype, device, input_shape, output_shape, weakref.ref(model))
    supported = _tried(trial)
    if "Gradient" not in supported:
        return supported
    # What goes back once, goes back for each element of a row's output.
    of_rows = () if model.blueprint.mixes_rows(training=False) else ("Jacobian",)
    return (*supported, *of_rows, "CheckGradients")


@lru_cache(_REMEMBERED)
def _tried(trial: _Trial) -> tuple[str, ...]:
    if (model := trial.model()) is None:
        raise ReferenceError("a model is tried while somebody holds it")
    x, vector = np.ones(trial.input_shape, np.float32), np.ones(trial.output_shape, np.float32)
    of_gradient = GradientCall(x, grad_output=vector, wrt=(INPUT,))
    of_hvp = HvpCall(x, grad_output=vector, vectors={INPUT: x})
    results: dict[str, Sequence[Result | ServiceError]] = {
        "Gradient": gradient.compute(model, [gradient.prepare(model, of_gradient)]),
        "Jvp": jvp.compute(model, [jvp.prepare(model, JvpCall(x, tangents={INPUT: x}))]),
        "Hvp": hvp.compute(model, [hvp.prepare(model, of_hvp)]),
    }
    return tuple(name for name, (result,) in results.items() if _is_supported(result))


def _is_supported(result: Result | ServiceError) -> bool:
    if isinstance(result, ServiceError) and not isinstance(result, Unimplemented):
        raise result
    return not isinstance(result, Unimplemented)

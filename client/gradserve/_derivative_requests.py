"""From arguments to the messages of Jvp, Jacobian, Hvp and CheckGradients: pure functions, for whoever calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from gradserve._arrays import Array, ArrayLike
from gradserve._inference_requests import Objective, Run, array, loss, tensor
from gradserve._refusals import int32, invalid, optional_int64
from gradserve.v1 import inference_pb2

Named: TypeAlias = Mapping[str, Array]
"""Arrays by the names of parameters, and "input"."""
Directions: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
"""One of the input, or some by the names of parameters, and "input"."""
JacobianMode: TypeAlias = Literal["auto", "reverse", "forward"]

_MODES: Final = {
    "auto": inference_pb2.JACOBIAN_MODE_UNSPECIFIED,
    "reverse": inference_pb2.JACOBIAN_MODE_REVERSE,
    "forward": inference_pb2.JACOBIAN_MODE_FORWARD,
}


def named(field: str, directions: Directions) -> Named:
    """Return directions by name.

    Raises:
        InvalidArgumentError: One of them is an array that the wire has no form for.
    """
    by_name = directions if isinstance(directions, Mapping) else {"input": directions}
    return {name: array(f"{field}[{name}]", value) for name, value in by_name.items()}


def jvp(
    model: str, x: Array, tangents: Named, run: Run, *, is_tangents_batched: bool, return_output: bool
) -> inference_pb2.JvpRequest:
    """Return the request of Jvp."""
    return inference_pb2.JvpRequest(
        model=model,
        input=tensor("input", x),
        training=run.training,
        seed=optional_int64("seed", run.seed),
        if_version=optional_int64("if_version", run.if_version),
        deterministic=run.deterministic,
        tangents={name: tensor(f"tangents[{name}]", value) for name, value in tangents.items()},
        is_tangents_batched=is_tangents_batched,
        return_output=return_output,
    )


def jacobian(  # noqa: PLR0913 - as many as the request has parts
    model: str,
    x: Array,
    run: Run,
    *,
    wrt: str | Sequence[str],
    mode: JacobianMode,
    chunk_size: int | None,
    return_output: bool,
) -> inference_pb2.JacobianRequest:
    """Return the request of Jacobian.

    Raises:
        InvalidArgumentError: The mode is none.
    """
    if mode not in _MODES:
        raise invalid("mode", f"must be one of {', '.join(_MODES)}; got {mode!r}")
    return inference_pb2.JacobianRequest(
        model=model,
        input=tensor("input", x),
        training=run.training,
        seed=optional_int64("seed", run.seed),
        if_version=optional_int64("if_version", run.if_version),
        deterministic=run.deterministic,
        wrt=[wrt] if isinstance(wrt, str) else wrt,
        mode=_MODES[mode],
        chunk_size=None if chunk_size is None else int32("chunk_size", chunk_size),
        return_output=return_output,
    )


def hvp(  # noqa: PLR0913 - as many as the request has parts
    model: str,
    x: Array,
    objective: Objective,
    vectors: Named,
    run: Run,
    *,
    wrt: str | Sequence[str],
    is_vectors_batched: bool,
    return_gradients: bool,
) -> inference_pb2.HvpRequest:
    """Return the request of Hvp."""
    grad_output = objective.grad_output
    return inference_pb2.HvpRequest(
        model=model,
        input=tensor("input", x),
        training=run.training,
        seed=optional_int64("seed", run.seed),
        if_version=optional_int64("if_version", run.if_version),
        deterministic=run.deterministic,
        loss=loss(objective),
        grad_output=None if grad_output is None else tensor("grad_output", grad_output),
        vectors={name: tensor(f"vectors[{name}]", value) for name, value in vectors.items()},
        is_vectors_batched=is_vectors_batched,
        wrt=[wrt] if isinstance(wrt, str) else wrt,
        return_gradients=return_gradients,
    )


def check_gradients(
    model: str, x: Array | None, objective: Objective, *, seed: int | None, if_version: int | None
) -> inference_pb2.CheckGradientsRequest:
    """Return the request of CheckGradients."""
    return inference_pb2.CheckGradientsRequest(
        model=model,
        input=None if x is None else tensor("input", x),
        loss=loss(objective),
        seed=optional_int64("seed", seed),
        if_version=optional_int64("if_version", if_version),
    )

"""Random cases of each operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from hypothesis import assume
from hypothesis import strategies as st

from tests.properties import stacks
from tests.properties.case import Case, LossCase
from tests.properties.losses import KINDS, SEEDS, Kind, Pair, losses
from tests.properties.sample import FLOATS, Sample
from tests.properties.stacks import WIDTHS, Shape
from tests.support.oracle import Hosted, Layer

REQUEST_SEEDS = st.sampled_from([None, 0, 1, 123, -1, 2**31, 2**63 - 1, -(2**63)])
# Never false where an input is not finite: some of torch's kernels lose a NaN in one memory layout, not in another.
_DETERMINISTIC = st.sampled_from([True, True, False])
_QUARTER = st.sampled_from([True, False, False, False])
_COUNTS = st.sampled_from([None, None, 1, 2, 3, 5])
_ROWS = st.sampled_from([1, 2, 2, 3, 3, 4, 5, 17, 0])


@st.composite
def forward_cases(draw: st.DrawFn, first: str, dtypes: tuple[str, ...] = FLOATS) -> Case:
    """A model and a ForwardRequest to it.

    Args:
        draw: Given by hypothesis.
        first: The kind of the model's first layer.
        dtypes: Those that the device has.
    """
    shape = draw(shapes(st.sampled_from([0, 1, 2, 2, 3])).filter(stacks.KINDS[first].fits))
    layers, _ = draw(stacks.stacks(shape, first=first))
    input_ = draw(inputs(shape))
    return Case(
        layers,
        input_,
        dtype=draw(st.sampled_from(dtypes)),
        weights_seed=draw(SEEDS),
        training=draw(st.booleans()),
        seed=draw(REQUEST_SEEDS),
        deterministic=draw(_DETERMINISTIC) or input_.kind == "nonfinite",
    )


@st.composite
def gradient_cases(
    draw: st.DrawFn,
    pair: Pair | None,
    dtypes: tuple[str, ...] = FLOATS,
    by_row: st.SearchStrategy[bool] = _QUARTER,
) -> Case:
    """A model and a GradientRequest to it.

    Args:
        draw: Given by hypothesis.
        pair: The loss and its reduction; None for a vector-Jacobian product.
        dtypes: Those that the device has.
        by_row: Whether it is per_sample.
    """
    per_sample = draw(by_row)
    kind = KINDS[pair.loss] if pair else Kind()
    shape = draw(shapes(st.just(2) if per_sample else st.sampled_from(kind.ranks)))
    layers, output_shape = draw(stacks.stacks(shape, last=kind.tail))
    loss = draw(losses(pair, output_shape)) if pair else None
    wrt, frozen = draw(leaves(layers))
    input_ = draw(inputs(shape))
    return Case(
        layers,
        input_,
        dtype=draw(st.sampled_from([*dtypes, *(dtype for dtype in kind.dtypes if dtype in dtypes)])),
        weights_seed=draw(SEEDS),
        frozen=frozen,
        training=draw(st.booleans()),
        seed=draw(REQUEST_SEEDS),
        deterministic=draw(_DETERMINISTIC) or input_.kind == "nonfinite",
        loss=loss,
        grad_output=draw(grad_outputs(loss, output_shape, per_sample=per_sample)),
        wrt=wrt,
        per_sample=per_sample,
        return_output=draw(st.booleans()),
    )


@st.composite
def jvp_cases(draw: st.DrawFn, first: str, dtypes: tuple[str, ...] = FLOATS) -> Case:
    """A model and a JvpRequest to it.

    Args:
        draw: Given by hypothesis.
        first: The kind of the model's first layer.
        dtypes: Those that the device has.
    """
    case = draw(forward_cases(first, dtypes))
    named = parameter_shapes(case.layers)
    frozen = tuple(name for name in named if draw(st.integers(0, 3)) == 0)
    count = draw(_COUNTS)
    tangents = draw(_directions({**named, "input": case.input.shape}, count))
    batched, wanted = count is not None, draw(st.booleans())
    return replace(case, frozen=frozen, tangents=tangents, batched=batched, return_output=wanted)


@st.composite
def hvp_cases(draw: st.DrawFn, pair: Pair | None, dtypes: tuple[str, ...] = FLOATS) -> Case:
    """A model and an HvpRequest to it.

    Args:
        draw: Given by hypothesis.
        pair: The loss and its reduction; None for the output weighted by a vector.
        dtypes: Those that the device has.
    """
    case = draw(gradient_cases(pair, dtypes, by_row=st.just(False)))
    # Behind a loss without second derivatives torch's GroupNorm gives memory that nobody has written.
    without = case.loss is not None and case.loss.name == "l1_loss"
    assume(not (without and any(layer.type == "GroupNorm" for layer in case.layers)))
    named = {**parameter_shapes(case.layers), "input": case.input.shape}
    count = draw(_COUNTS)
    vectors = draw(_directions({name: shape for name, shape in named.items() if name not in case.frozen}, count))
    # By default gradients are wanted of all parameters, but products of what there are vectors for.
    batched, gradients = count is not None, draw(st.booleans())
    return replace(case, vectors=vectors, batched=batched, return_gradients=gradients, return_output=False)


@st.composite
def _directions(draw: st.DrawFn, shapes: Mapping[str, Shape], count: int | None) -> dict[str, Sample]:
    """Directions of some of the leaves of these shapes, or so many of each."""
    names = draw(st.lists(st.sampled_from([*shapes]), min_size=1, max_size=4, unique=True))
    leading = () if count is None else (count,)
    return {
        name: Sample("normal", (*leading, *shapes[name]), draw(st.sampled_from(FLOATS)), draw(SEEDS)) for name in names
    }


def parameter_shapes(layers: tuple[Layer, ...]) -> dict[str, Shape]:
    """The shapes of the parameters, by name."""
    with torch.device("meta"):
        return {name: tuple(parameter.shape) for name, parameter in Hosted(layers).named_parameters()}


@st.composite
def shapes(draw: st.DrawFn, ranks: st.SearchStrategy[int]) -> Shape:
    """The shape of an input."""
    rank = draw(ranks)
    return (*(draw(_ROWS) for _ in range(rank - 1)), *([draw(WIDTHS)] if rank else []))


def inputs(shape: Shape) -> st.SearchStrategy[Sample]:
    """An input of a shape, now and then with a NaN or an infinity."""
    kinds = st.sampled_from(["normal"] * 9 + ["nonfinite"])
    return st.builds(Sample, kinds, st.just(shape), st.sampled_from(FLOATS), SEEDS)


@st.composite
def grad_outputs(draw: st.DrawFn, loss: LossCase | None, output_shape: Shape, *, per_sample: bool) -> Sample | None:
    """The vector that a request needs: without a loss, and with one that is not reduced."""
    if loss is None:
        return Sample("normal", output_shape, draw(st.sampled_from(FLOATS)), draw(SEEDS))
    if loss.reduction != "none":
        return None
    unreduced = tuple(loss.loss().of(torch.zeros(output_shape)).shape)
    if per_sample and len(unreduced) == 1 and draw(st.booleans()):
        return None
    return Sample("normal", unreduced, draw(st.sampled_from(FLOATS)), draw(SEEDS))


@st.composite
def leaves(draw: st.DrawFn, layers: tuple[Layer, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Something to differentiate with respect to, and perhaps a frozen parameter that it leaves out."""
    names = list(parameter_shapes(layers))
    if not names:
        return ("input",), ()
    name = draw(st.sampled_from(names))
    globs = [(), ("*",), ("*", "input")]
    wrt = draw(
        st.sampled_from([*globs, *globs, ("input",), (name,), (f"{name[:8]}*", "*.weight*", name), (name, "input")])
    )
    frozen = (name,) if len(names) > 1 and wrt in globs and draw(st.booleans()) else ()
    return wrt, frozen

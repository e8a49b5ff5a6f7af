"""Random batches: requests of several callers to one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from hypothesis import strategies as st

from tests.properties import stacks
from tests.properties.case import Case
from tests.properties.cases import grad_outputs
from tests.properties.losses import KINDS, PAIRS, SEEDS, Pair, losses
from tests.properties.sample import FLOATS, Sample
from tests.properties.stacks import WIDTHS, Shape
from tests.support.oracle import Hosted, Layer

_ROWS = st.integers(1, 5)
_MEMBERS = st.integers(2, 6)

# Layers that tell one leading dimension from another: their inputs can differ in the first alone.
_OF_FIXED_RANK = {"BatchNorm1d", "FeatureAlphaDropout", "Flatten", "GroupNorm", "PReLU"}


@dataclass(frozen=True)
class Batch:
    """Cases of one model, to be computed together."""

    cases: tuple[Case, ...]


@st.composite
def forward_batches(draw: st.DrawFn, first: str) -> Batch:
    """A model whose first layer is of some kind, and ForwardRequests to it."""
    shape = draw(_shapes(st.sampled_from([0, 1, 2, 2, 3])).filter(stacks.KINDS[first].fits))
    layers, _ = draw(stacks.stacks(shape, first=first))
    model = Case(layers, Sample("normal", shape, "float32", 0), draw(st.sampled_from(FLOATS)), draw(SEEDS))
    return Batch(tuple(draw(_asked(model, shape)) for _ in range(draw(_MEMBERS))))


@st.composite
def gradient_batches(draw: st.DrawFn, pair: Pair) -> Batch:
    """A model, a GradientRequest of some loss to it, and others of any."""
    kind = KINDS[pair.loss]
    shape = draw(_shapes(st.sampled_from(kind.ranks)))
    layers, _ = draw(stacks.stacks(shape, last=kind.tail))
    names = _parameter_names(layers)
    frozen = (draw(st.sampled_from(names)),) if len(names) > 1 and draw(st.booleans()) else ()
    dtype = draw(st.sampled_from([*FLOATS, *kind.dtypes]))
    model = Case(layers, Sample("normal", shape, "float32", 0), dtype, draw(SEEDS), frozen)
    first = draw(_differentiated(replace(draw(_asked(model, shape)), input=draw(_inputs(shape))), names, pair))
    # Mostly the same loss again, as that is computed in one go.
    pairs = st.one_of(st.just(pair), st.just(pair), st.sampled_from([None, *PAIRS]))
    others = [draw(_differentiated(draw(_asked(model, shape)), names, draw(pairs))) for _ in range(draw(_MEMBERS) - 1)]
    return Batch((first, *others))


@st.composite
def _asked(draw: st.DrawFn, model: Case, shape: Shape) -> Case:
    """A request with an input of its own, which the layers take as they take that shape."""
    if len(shape) > 1:
        shape = (draw(_ROWS), *shape[1:])
    if shape and not _OF_FIXED_RANK & {layer.type for layer in model.layers}:
        shape = (*draw(st.lists(_ROWS, max_size=2)), shape[-1])
    training = draw(st.booleans())
    return replace(model, input=draw(_inputs(shape)), training=training, seed=0, deterministic=False)


@st.composite
def _differentiated(draw: st.DrawFn, case: Case, names: Sequence[str], pair: Pair | None) -> Case:
    """The request with a loss, if the pair's fits its output; else with a vector."""
    output_shape = reduce(lambda shape, layer: stacks.shape_after(layer, shape), case.layers, case.input.shape)
    fits = pair is not None and len(output_shape) in KINDS[pair.loss].ranks
    loss = draw(losses(pair, output_shape)) if pair is not None and fits else None
    trainable = [name for name in names if name not in case.frozen]
    choices = [(), ("*",), ("*", "input"), *((name,) for name in trainable), *((name, "input") for name in trainable)]
    wrt = draw(st.sampled_from([("input",), *(choices if trainable else [])]))
    vector = draw(grad_outputs(loss, output_shape, per_sample=False))
    return replace(case, loss=loss, grad_output=vector, wrt=wrt, return_output=draw(st.booleans()))


@st.composite
def _shapes(draw: st.DrawFn, ranks: st.SearchStrategy[int]) -> Shape:
    rank = draw(ranks)
    return (*(draw(_ROWS) for _ in range(rank - 1)), *([draw(WIDTHS)] if rank else []))


def _inputs(shape: Shape) -> st.SearchStrategy[Sample]:
    kinds = st.sampled_from(["normal"] * 5 + ["nonfinite"])
    return st.builds(Sample, kinds, st.just(shape), st.sampled_from(FLOATS), SEEDS)


def _parameter_names(layers: tuple[Layer, ...]) -> list[str]:
    with torch.device("meta"):
        return [name for name, _ in Hosted(layers).named_parameters()]

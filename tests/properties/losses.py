"""Random losses: which output each takes, and how its target and its arguments are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from hypothesis import strategies as st

from tests.properties.case import LossCase
from tests.properties.sample import FLOATS, INTEGERS, Sample
from tests.properties.stacks import Shape, real

Argument: TypeAlias = bool | int | float | Sample

REDUCTIONS = ("", "mean", "sum", "none")
SEEDS = st.integers(0, 999)


@dataclass(frozen=True)
class Kind:
    """How a loss of one kind is drawn.

    Attributes:
        target: The kind of its target's sample; empty for none.
        ranks: The ranks of output that it takes.
        tail: The layers one of which must come last, so that the outputs are legal.
        arguments: What its arguments are: one of `_NUMBERS`, a "class", or a tensor: "per class", "like the output",
            "broadcast" to it, or a "variance" of it.
        required: The arguments that torch has no default for.
        reductions: The reductions that it takes.
        dtypes: Those of the model, on top of an even choice, for the losses that lack a kernel for some.
    """

    target: str = "normal"
    ranks: tuple[int, ...] = (0, 1, 2, 2, 3)
    tail: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    reductions: tuple[str, ...] = REDUCTIONS
    dtypes: tuple[str, ...] = ()


_CLASS_RANKS = (1, 2, 2, 2)
_NUMBERS: Mapping[str, st.SearchStrategy[Argument]] = {
    "flag": st.booleans(),
    "positive": st.one_of(real(0.05, 2), st.just(1)),
    "fraction": real(0, 1),
    "one or two": st.sampled_from([1, 2]),
}
_WIDE_DTYPES = ("float32", "float64")
_PROBABILITIES = ("Sigmoid", "Softmax", "Hardsigmoid", "Sigmoid")

KINDS: Mapping[str, Kind] = {
    "sum": Kind("", reductions=("",)),
    "mean": Kind("", reductions=("",)),
    "mse_loss": Kind(arguments={"weight": "like the output"}),
    "l1_loss": Kind(arguments={"weight": "like the output"}),
    "smooth_l1_loss": Kind(arguments={"beta": "positive"}),
    "huber_loss": Kind(arguments={"delta": "positive", "weight": "like the output"}),
    "soft_margin_loss": Kind("signs"),
    "hinge_embedding_loss": Kind("signs", arguments={"margin": "positive"}),
    "poisson_nll_loss": Kind("positive", arguments={"log_input": "flag", "full": "flag", "eps": "positive"}),
    "gaussian_nll_loss": Kind(
        arguments={"var": "variance", "full": "flag", "eps": "positive"}, required=("var",), ranks=(1, 2, 2, 3)
    ),
    "kl_div": Kind("distribution or logs", arguments={"log_target": "flag"}, reductions=(*REDUCTIONS, "batchmean")),
    "binary_cross_entropy": Kind("probabilities", tail=_PROBABILITIES, arguments={"weight": "broadcast"}),
    "binary_cross_entropy_with_logits": Kind(
        "probabilities", arguments={"weight": "broadcast", "pos_weight": "broadcast"}
    ),
    "multilabel_soft_margin_loss": Kind("probabilities", (1, 2, 2, 3), arguments={"weight": "broadcast"}),
    "cross_entropy": Kind(
        "classes or distribution",
        _CLASS_RANKS,
        arguments={"weight": "per class", "ignore_index": "class", "label_smoothing": "fraction"},
    ),
    "nll_loss": Kind("classes", _CLASS_RANKS, arguments={"weight": "per class", "ignore_index": "class"}),
    "multi_margin_loss": Kind(
        "classes",
        _CLASS_RANKS,
        arguments={"p": "one or two", "margin": "positive", "weight": "per class"},
        dtypes=_WIDE_DTYPES * 4,
    ),
    "multilabel_margin_loss": Kind("labels", _CLASS_RANKS, dtypes=_WIDE_DTYPES * 4),
}


@dataclass(frozen=True)
class Pair:
    """A loss with one of the reductions that it takes; the empty one is torch's default."""

    loss: str
    reduction: str

    def __str__(self) -> str:
        return f"{self.loss} {self.reduction or 'by default'}"


PAIRS = tuple(Pair(name, reduction) for name, kind in KINDS.items() for reduction in kind.reductions)


@st.composite
def losses(draw: st.DrawFn, pair: Pair, shape: Shape) -> LossCase:
    """A loss of one kind, for an output of a shape."""
    kind = KINDS[pair.loss]
    chosen = [argument for argument in kind.arguments if argument in kind.required or draw(st.integers(0, 4)) < 2]
    arguments = {argument: draw(_argument(kind.arguments[argument], shape)) for argument in chosen}
    if not kind.target:
        return LossCase(pair.loss)
    return LossCase(pair.loss, draw(_target(kind.target, shape, arguments)), pair.reduction, arguments)


@st.composite
def _target(draw: st.DrawFn, kind: str, shape: Shape, arguments: Mapping[str, Argument]) -> Sample:
    seed = draw(SEEDS)
    ignored = arguments.get("ignore_index")
    if kind == "classes or distribution":
        # torch has no ignored class among probabilities.
        kind = "classes" if ignored is not None or draw(st.integers(0, 3)) else "distribution"
    if kind == "distribution or logs":
        kind = "logs" if arguments.get("log_target") else "distribution"
    if kind == "classes":
        dtypes = [dtype for dtype in INTEGERS if dtype != "uint8" or not isinstance(ignored, int) or ignored >= 0]
        assert ignored is None or isinstance(ignored, int)
        return Sample("classes", shape[:-1], draw(st.sampled_from(dtypes)), seed, shape[-1], ignored)
    if kind == "labels":
        return Sample("labels", shape, draw(st.sampled_from(INTEGERS[1:])), seed, shape[-1])
    return Sample(kind, shape, draw(st.sampled_from(FLOATS)), seed)


def _argument(kind: str, shape: Shape) -> st.SearchStrategy[Argument]:
    if kind in _NUMBERS:
        return _NUMBERS[kind]
    if kind == "class":
        return st.sampled_from([0, shape[-1] - 1, -1, -100])
    if kind == "variance":
        return st.one_of(_positive(shape), _positive((*shape[:-1], 1)), _positive(shape[:-1]), real(0.05, 2))
    wide = [(*shape[:-1], 1), (1,) * len(shape)] if shape else []
    shapes = {"per class": [shape[-1:]], "like the output": [shape], "broadcast": [shape, shape[-1:], *wide]}
    return st.one_of(*(_positive(choice) for choice in shapes[kind]))


def _positive(shape: Shape) -> st.SearchStrategy[Argument]:
    return st.builds(Sample, st.just("positive"), st.just(shape), st.sampled_from(FLOATS), SEEDS)

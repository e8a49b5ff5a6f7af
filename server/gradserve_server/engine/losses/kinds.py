"""The closed table of losses: torch.nn.functional's names, what each compares with, and its arguments."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from gradserve_server.errors import InvalidArgument

LossFunction: TypeAlias = Callable[..., Tensor]

IGNORE_INDEX = -100
"""torch's default of the argument `ignore_index`."""


class Target(enum.Enum):
    """What a loss compares the output with."""

    NONE = enum.auto()
    """Nothing."""
    VALUES = enum.auto()
    """Floating, of the output's shape."""
    CLASS = enum.auto()
    """One class id for each row: the output's shape without the last dimension."""
    CLASS_OR_PROBABILITIES = enum.auto()
    """Class ids, or floating probabilities of the output's shape."""
    CLASSES = enum.auto()
    """Class ids of the output's shape, the wanted ones first, then -1."""


class Argument(enum.Enum):
    """What an argument of a loss must be."""

    BOOL = enum.auto()
    INT = enum.auto()
    FLOAT = enum.auto()
    CLASS_WEIGHT = enum.auto()
    """A tensor [C], for an output [..., C]."""
    SAME_SHAPE = enum.auto()
    """A tensor of the output's shape."""
    BROADCAST = enum.auto()
    """A tensor that broadcasts to the output's shape."""
    VARIANCE = enum.auto()
    """A number, or a tensor of the output's shape, with a last dimension of 1, or without the last dimension."""


@dataclass(frozen=True)
class LossKind:
    """One loss.

    Attributes:
        function: Takes the output, the target unless there is none, `reduction`, and the arguments.
        target: What it compares with.
        arguments: What each further argument must be.
        required: The arguments without a default.
        reductions: The values that `reduction` may have; empty if it takes none.
        probabilities: Whether torch demands that output and target lie in [0, 1].
        sums_classes: Whether the unreduced loss lacks the output's last dimension.
    """

    function: LossFunction
    target: Target = Target.VALUES
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    reductions: tuple[str, ...] = ("mean", "sum", "none")
    probabilities: bool = False
    sums_classes: bool = False

    @property
    def of_classes(self) -> bool:
        """Whether the output's last dimension counts classes."""
        return self.target in {Target.CLASS, Target.CLASS_OR_PROBABILITIES, Target.CLASSES}

    def unreduced_shape(self, output_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the loss with reduction "none"."""
        return output_shape[:-1] if self.of_classes or self.sums_classes else output_shape


def _without_rows(function: LossFunction) -> LossFunction:
    """Give a margin loss the values of the other losses where there are no rows: torch leaves them uninitialised."""

    def loss(output: Tensor, target: Tensor, *, reduction: str, **arguments: object) -> Tensor:
        if output.numel():
            return function(output, target, reduction=reduction, **arguments)
        rows = output.sum(-1)
        return {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]

    return loss


_WEIGHT_PER_CLASS = {"weight": Argument.CLASS_WEIGHT}
_BY_CLASS = {**_WEIGHT_PER_CLASS, "ignore_index": Argument.INT}

LOSSES: Mapping[str, LossKind] = {
    "sum": LossKind(torch.sum, Target.NONE, reductions=()),
    "mean": LossKind(torch.mean, Target.NONE, reductions=()),
    "mse_loss": LossKind(F.mse_loss, arguments={"weight": Argument.SAME_SHAPE}),
    "l1_loss": LossKind(F.l1_loss, arguments={"weight": Argument.SAME_SHAPE}),
    "smooth_l1_loss": LossKind(F.smooth_l1_loss, arguments={"beta": Argument.FLOAT}),
    "huber_loss": LossKind(F.huber_loss, arguments={"delta": Argument.FLOAT, "weight": Argument.SAME_SHAPE}),
    "soft_margin_loss": LossKind(F.soft_margin_loss),
    "hinge_embedding_loss": LossKind(F.hinge_embedding_loss, arguments={"margin": Argument.FLOAT}),
    "poisson_nll_loss": LossKind(
        F.poisson_nll_loss, arguments={"log_input": Argument.BOOL, "full": Argument.BOOL, "eps": Argument.FLOAT}
    ),
    "gaussian_nll_loss": LossKind(
        F.gaussian_nll_loss,
        arguments={"var": Argument.VARIANCE, "full": Argument.BOOL, "eps": Argument.FLOAT},
        required=("var",),
    ),
    "kl_div": LossKind(
        F.kl_div, arguments={"log_target": Argument.BOOL}, reductions=("mean", "sum", "none", "batchmean")
    ),
    "binary_cross_entropy": LossKind(
        F.binary_cross_entropy, arguments={"weight": Argument.BROADCAST}, probabilities=True
    ),
    "binary_cross_entropy_with_logits": LossKind(
        F.binary_cross_entropy_with_logits,
        arguments={"weight": Argument.BROADCAST, "pos_weight": Argument.BROADCAST},
    ),
    "multilabel_soft_margin_loss": LossKind(
        F.multilabel_soft_margin_loss, arguments={"weight": Argument.BROADCAST}, sums_classes=True
    ),
    "cross_entropy": LossKind(
        F.cross_entropy, Target.CLASS_OR_PROBABILITIES, {**_BY_CLASS, "label_smoothing": Argument.FLOAT}
    ),
    "nll_loss": LossKind(F.nll_loss, Target.CLASS, _BY_CLASS),
    "multi_margin_loss": LossKind(
        _without_rows(F.multi_margin_loss),
        Target.CLASS,
        {**_WEIGHT_PER_CLASS, "p": Argument.INT, "margin": Argument.FLOAT},
    ),
    "multilabel_margin_loss": LossKind(_without_rows(F.multilabel_margin_loss), Target.CLASSES),
}


def kind_of(name: str) -> LossKind:
    """The table's entry for a loss.

    Raises:
        InvalidArgument: If the table has none.
    """
    if (kind := LOSSES.get(name)) is None:
        raise InvalidArgument(f"{name!r} is not a loss: one of {', '.join(sorted(LOSSES))}", field="loss.name")
    return kind

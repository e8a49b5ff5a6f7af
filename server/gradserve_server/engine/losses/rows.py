"""Losses whose rows stand for themselves: for the rows of several requests at once, with their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from gradserve_server.engine.losses.binding import BoundLoss
from gradserve_server.engine.losses.kinds import IGNORE_INDEX, LOSSES, Target
from gradserve_server.engine.network.shapes import Shape

_aten = torch.ops.aten
_mse_loss_backward = _aten.mse_loss_backward.default
_nll_loss_backward = _aten.nll_loss_backward.default
_nll_loss_forward = _aten.nll_loss_forward.default


class RowLoss(NamedTuple):
    """What requests have in common whose losses can be evaluated in one go.

    Attributes:
        name: The loss; empty for the output itself.
        reduction: "mean", "sum" or "none".
        by_id: Whether the target holds class ids.
        numbers: The scalar arguments.
    """

    name: str
    reduction: str
    by_id: bool = False
    numbers: tuple[tuple[str, float], ...] = ()

    def target_row(self, output_row: Shape) -> Shape:
        """The shape of a row of the target, given that of a row of the output."""
        by_row = self.by_id and LOSSES[self.name].target is not Target.CLASSES
        return output_row[:-1] if by_row else output_row

    def value_row(self, output_row: Shape) -> Shape:
        """The shape of a row of the values that are reduced."""
        return LOSSES[self.name].unreduced_shape(output_row) if self.name else output_row


class Shares(NamedTuple):
    """What several requests bring to a loss, each for its rows, one request behind the other.

    Attributes:
        rows: How many rows each has.
        counted: How many of its values a mean counts.
        target: Of all rows; None for losses without one.
        vector: What the values are weighted by, of all rows; None unless they are not reduced.
    """

    rows: Sequence[int]
    counted: Sequence[int]
    target: Tensor | None
    vector: Tensor | None


def row_loss(name: str, loss: BoundLoss | None) -> RowLoss | None:
    """The common part of a loss of rows [N, C]; None if it must be evaluated for each request alone."""
    if loss is None:
        return RowLoss("", "none")
    if loss.kind.target is Target.NONE:
        return RowLoss(name, name)
    # Values to be checked, a reduction that counts rows, or a tensor of the request's own.
    special = loss.kind.probabilities or loss.reduction == "batchmean" or loss.numbers.get("label_smoothing")
    if special or loss.tensors:
        return None
    return RowLoss(name, loss.reduction, loss.classes is not None, tuple(loss.numbers.items()))


def differentiate(loss: RowLoss, output: Tensor, shares: Shares) -> tuple[Tensor, Tensor]:
    """Evaluate the losses of several requests.

    Args:
        loss: What they have in common.
        output: All their rows, [N, ...].
        shares: What each brings.

    Returns:
        The loss of each request (with reduction "none" of each row), and the gradient of their sum with respect to the
        output.
    """
    kernel = _KERNELS.get((loss.name, loss.by_id), _by_autograd)
    if (vector := shares.vector) is not None:
        return kernel(loss, output, shares.target, "none", lambda _: vector)
    if len(shares.rows) == 1:
        return kernel(loss, output, shares.target, loss.reduction, torch.ones_like)
    values, grad_output = kernel(loss, output, shares.target, "none", lambda values: _weights(loss, values, shares))
    return _reduced(loss, values, shares), grad_output


def _reduced(loss: RowLoss, values: Tensor, shares: Shares) -> Tensor:
    if len(set(shares.rows)) == 1:
        sums = values.reshape(len(shares.rows), -1).sum(1)
    else:
        sums = torch.stack([part.sum() for part in torch.split(values, list(shares.rows))])
    return sums if loss.reduction == "sum" else sums / values.new_tensor(shares.counted)


def _weights(loss: RowLoss, values: Tensor, shares: Shares) -> Tensor:
    # A mean over nothing but ignored classes is NaN and has no gradient, whatever the weight.
    scales = [1.0 if loss.reduction == "sum" else 1 / count if count else math.inf for count in shares.counted]
    if len(set(scales)) == 1:
        return values.new_full(values.shape, scales[0])
    filled = zip(shares.rows, scales, strict=True)
    return torch.cat([values.new_full((rows, *values.shape[1:]), scale) for rows, scale in filled])


_Weigh: TypeAlias = Callable[[Tensor], Tensor]
"""Gives the gradient that a loss's value or values get from what is made of them."""

_Kernel: TypeAlias = Callable[[RowLoss, Tensor, Any, str, _Weigh], tuple[Tensor, Tensor]]
"""Gives the loss of an output and a target with some reduction, and its gradient with respect to the output."""

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
"""As torch's kernels take them."""


def _itself(_: RowLoss, output: Tensor, __: None, reduction: str, weigh: _Weigh) -> tuple[Tensor, Tensor]:
    if reduction == "none":
        return output, weigh(output)
    value = output.sum() if reduction == "sum" else output.mean()
    return value, output.new_full(output.shape, 1.0 if reduction == "sum" else 1 / output.numel())


def _mse_loss(_: RowLoss, output: Tensor, target: Tensor, reduction: str, weigh: _Weigh) -> tuple[Tensor, Tensor]:
    value = F.mse_loss(output, target, reduction=reduction)
    return value, _mse_loss_backward(weigh(value), output, target, _REDUCTIONS[reduction])


def _cross_entropy(
    loss: RowLoss, output: Tensor, target: Tensor, reduction: str, weigh: _Weigh
) -> tuple[Tensor, Tensor]:
    ignore_index = dict(loss.numbers).get("ignore_index", IGNORE_INDEX)
    number = _REDUCTIONS[reduction]
    logs = torch.log_softmax(output, 1)
    value, total = _nll_loss_forward(logs, target, None, number, ignore_index)
    grad_logs = _nll_loss_backward(weigh(value), logs, target, None, number, ignore_index, total)
    return value, torch._log_softmax_backward_data(grad_logs, logs, 1, logs.dtype)  # noqa: SLF001 - its only name


def _by_autograd(loss: RowLoss, output: Tensor, target: Tensor, reduction: str, weigh: _Weigh) -> tuple[Tensor, Tensor]:
    leaf = output.detach().requires_grad_()
    value = LOSSES[loss.name].function(leaf, target, reduction=reduction, **dict(loss.numbers))
    (grad_output,) = torch.autograd.grad(value, leaf, weigh(value))
    return value.detach(), grad_output


_KERNELS: Mapping[tuple[str, bool], _Kernel] = {
    ("", False): _itself,
    ("mean", False): _itself,
    ("sum", False): _itself,
    ("mse_loss", False): _mse_loss,
    ("cross_entropy", True): _cross_entropy,
}
"""The losses without the tape, by name and whether the target holds class ids; torch derives the others."""

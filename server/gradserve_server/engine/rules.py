"""One layer in evaluation, as functions of tensors: forwards, and backwards from the output's gradient.

No rule has a state or looks at a module's mode, so that any thread may call it. Inputs are [N, ...], where dimension 0
counts rows that stand for themselves.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor, nn

from gradserve_server.engine.derivatives import DERIVATIVES, IN_PLACE

_NOTHING_IN_EVALUATION = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)
_ROWS_AND_FEATURES = 2


class Rule(ABC):
    """What a stack asks of a layer; by default of one without parameters.

    Attributes:
        parameters: The names that its parameters have in the model.
    """

    parameters: AbstractSet[str] = frozenset()

    @abstractmethod
    def forward(self, value: Tensor) -> Tensor:
        """The layer's output for an input [N, ...]."""

    @abstractmethod
    def grad_input(self, grad_output: Tensor, value: Tensor, output: Tensor, /) -> Tensor:
        """The gradient of the input `value`, given the output and its gradient."""

    def grad_parameters(self, _grad_output: Tensor, _value: Tensor, _names: AbstractSet[str], /) -> dict[str, Tensor]:
        """The gradients, summed over all rows, of those of its parameters that are named."""
        return {}


def rule_of(layer: nn.Module, prefix: str, *, overwrites: bool) -> Rule:
    """The rule of a layer.

    Args:
        layer: Of the model; it is read, never called.
        prefix: What stands before the layer's own names in those of the model, such as "layers.0".
        overwrites: Whether the rule may use its input's memory for its output.
    """
    if isinstance(layer, nn.Linear):
        return LinearRule(layer, prefix)
    if isinstance(layer, _NOTHING_IN_EVALUATION):
        return ActivationRule(nn.Identity(), overwrites=False)
    if type(layer) in DERIVATIVES:
        return ActivationRule(layer, overwrites=overwrites)
    return AutogradRule(layer, prefix)


class LinearRule(Rule):
    """`nn.Linear` by matrix products."""

    def __init__(self, layer: nn.Linear, prefix: str) -> None:
        own = {name: parameter.detach() for name, parameter in layer.named_parameters()}
        self.parameters = frozenset(f"{prefix}.{name}" for name in own)
        self._weight, self._bias = own["weight"], own.get("bias")
        self._transposed = self._weight.t()
        self._weight_name, self._bias_name = f"{prefix}.weight", f"{prefix}.bias"

    def forward(self, value: Tensor) -> Tensor:
        """As `F.linear`."""
        if value.dim() != _ROWS_AND_FEATURES:
            return self.forward(value.flatten(0, -2)).view(*value.shape[:-1], -1)
        if self._bias is None:
            return torch.mm(value, self._transposed)
        return torch.addmm(self._bias, value, self._transposed)

    def grad_input(self, grad_output: Tensor, _value: Tensor, _output: Tensor, /) -> Tensor:
        """The weight times the output's gradient."""
        if grad_output.dim() != _ROWS_AND_FEATURES:
            return torch.matmul(grad_output, self._weight)
        return torch.mm(grad_output, self._weight)

    def grad_parameters(self, grad_output: Tensor, value: Tensor, names: AbstractSet[str], /) -> dict[str, Tensor]:
        """The products of each row's gradient and input, summed."""
        if value.dim() != _ROWS_AND_FEATURES:
            return self.grad_parameters(grad_output.flatten(0, -2), value.flatten(0, -2), names)
        found = {}
        if self._weight_name in names:
            found[self._weight_name] = torch.mm(grad_output.t(), value)
        if self._bias_name in names:
            found[self._bias_name] = grad_output.sum(0)
        return found


class ActivationRule(Rule):
    """A layer without parameters or a mode, whose derivative torch has a kernel for."""

    def __init__(self, layer: nn.Module, *, overwrites: bool) -> None:
        kind = type(layer)
        self._apply = IN_PLACE[kind] if overwrites and kind in IN_PLACE else layer.forward
        self._derivative = DERIVATIVES[kind](layer)

    def forward(self, value: Tensor) -> Tensor:
        """As the layer."""
        return self._apply(value)

    def grad_input(self, grad_output: Tensor, value: Tensor, output: Tensor, /) -> Tensor:
        """By torch's kernel."""
        return self._derivative(grad_output, value, output)


class AutogradRule(Rule):
    """Any other layer: forwards by itself, backwards by autograd around it alone, at the price of a second forward."""

    def __init__(self, layer: nn.Module, prefix: str) -> None:
        # The copy shares the weights' memory and nothing else: another thread may put the original in training mode.
        buffers = {id(buffer): buffer for buffer in layer.buffers()}
        leaves = {id(parameter): parameter.detach().requires_grad_() for parameter in layer.parameters()}
        self._apply: Callable[[Tensor], Tensor] = copy.deepcopy(layer, {**buffers, **leaves}).eval().forward
        self._leaves = {f"{prefix}.{name}": leaves[id(parameter)] for name, parameter in layer.named_parameters()}
        self.parameters = frozenset(self._leaves)

    def forward(self, value: Tensor) -> Tensor:
        """As the layer in evaluation."""
        with torch.no_grad():
            return self._apply(value)

    def grad_input(self, grad_output: Tensor, value: Tensor, _output: Tensor, /) -> Tensor:
        """By autograd."""
        leaf = value.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self._apply(leaf), leaf, grad_output)
        return gradient

    def grad_parameters(self, grad_output: Tensor, value: Tensor, names: AbstractSet[str], /) -> dict[str, Tensor]:
        """By autograd."""
        leaves = {name: leaf for name, leaf in self._leaves.items() if name in names}
        found = torch.autograd.grad(self._apply(value), tuple(leaves.values()), grad_output)
        return dict(zip(leaves, found, strict=True))

"""One layer in evaluation, as functions of tensors: forwards, and backwards from the output's gradient.

No rule has a state or looks at a module's mode, so that any thread may call it. Inputs are [N, ...], where dimension 0
counts rows that stand for themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from gradserve_server.engine.network.derivatives import DERIVATIVES, IN_PLACE, Derivative

_NOTHING_IN_EVALUATION = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)
_ROWS_AND_FEATURES = 2

# Of the gradients of several groups, where only their norms are wanted.
_MOST_ELEMENTS = 2**22


class Rule:
    """What a stack asks of a layer; by default of one without parameters.

    Attributes:
        parameters: The names that its parameters have in the model.
        forward: The layer's output for an input [N, ...].
        grad_input: The gradient of the input, given that of the output, the input and the output.
    """

    parameters: AbstractSet[str] = frozenset()
    forward: Callable[[Tensor], Tensor]
    grad_input: Derivative

    def grad_parameters(self, _grad_output: Tensor, _value: Tensor, _names: AbstractSet[str], /) -> dict[str, Tensor]:
        """The gradients, summed over all rows, of those of its parameters that are named."""
        return {}

    def grad_parameters_of_groups(
        self, _grad_output: Tensor, _value: Tensor, _names: AbstractSet[str], /
    ) -> dict[str, Tensor]:
        """As `grad_parameters`, of each of G groups of rows: [G, R, ...] gives [G, *shape]."""
        return {}

    def grad_norms_of_groups(self, grad_output: Tensor, value: Tensor, names: AbstractSet[str], /) -> list[Tensor]:
        """The 2-norms [G] of what `grad_parameters_of_groups` gives, one tensor for each parameter.

        Of the gradients themselves no more are held at a time than those of a few groups.
        """
        elements = self._elements(names)
        at_once = max(1, _MOST_ELEMENTS // elements)
        parts = []
        for grads, values in zip(torch.split(grad_output, at_once), torch.split(value, at_once), strict=True):
            found = self.grad_parameters_of_groups(grads, values, names)
            parts.append(torch.stack([torch.linalg.vector_norm(each.flatten(1), dim=1) for each in found.values()]))
        return list(torch.cat(parts, 1))

    def _elements(self, _names: AbstractSet[str]) -> int:
        """How many elements those of its parameters have that are named."""
        return 0


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

    def grad_parameters_of_groups(
        self, grad_output: Tensor, value: Tensor, names: AbstractSet[str], /
    ) -> dict[str, Tensor]:
        """As above, of each group."""
        grad_output, value = grad_output.flatten(1, -2), value.flatten(1, -2)
        found = {}
        if self._weight_name in names:
            found[self._weight_name] = torch.bmm(grad_output.transpose(1, 2), value)
        if self._bias_name in names:
            found[self._bias_name] = grad_output.sum(1)
        return found

    def grad_norms_of_groups(self, grad_output: Tensor, value: Tensor, names: AbstractSet[str], /) -> list[Tensor]:
        """Of single rows without their gradients: the norm of an outer product is the product of the norms."""
        if grad_output.shape[1:-1].numel() != 1:
            return super().grad_norms_of_groups(grad_output, value, names)
        of_bias = torch.linalg.vector_norm(grad_output.flatten(1), dim=1)
        of_weight = of_bias * torch.linalg.vector_norm(value.flatten(1), dim=1)
        both = {self._weight_name: of_weight, self._bias_name: of_bias}
        return [norm for name, norm in both.items() if name in names]

    def _elements(self, _names: AbstractSet[str]) -> int:
        return self._weight.numel() + self._weight.size(0)


class ActivationRule(Rule):
    """A layer without parameters or a mode, whose derivative torch has a kernel for."""

    def __init__(self, layer: nn.Module, *, overwrites: bool) -> None:
        kind = type(layer)
        self.forward = IN_PLACE[kind] if overwrites and kind in IN_PLACE else layer.forward
        self.grad_input = DERIVATIVES[kind](layer)


class AutogradRule(Rule):
    """Any other layer: forwards by itself, backwards by autograd around it alone, at the price of a second forward."""

    def __init__(self, layer: nn.Module, prefix: str) -> None:
        # The copy shares the weights' memory and nothing else: another thread may put the original in training mode.
        buffers = {id(buffer): buffer for buffer in layer.buffers()}
        leaves = {id(parameter): parameter.detach().requires_grad_() for parameter in layer.parameters()}
        self._layer = copy.deepcopy(layer, {**buffers, **leaves}).eval()
        self._apply: Callable[[Tensor], Tensor] = self._layer.forward
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

    def grad_parameters_of_groups(
        self, grad_output: Tensor, value: Tensor, names: AbstractSet[str], /
    ) -> dict[str, Tensor]:
        """By autograd, of all groups at once where torch can."""
        leaves = {name.rpartition(".")[2]: leaf.detach() for name, leaf in self._leaves.items() if name in names}
        # functional_call puts other parameters into the module for a while: into a copy, as any thread may be here.
        shared = {id(tensor): tensor for tensor in (*self._layer.parameters(), *self._layer.buffers())}
        layer = copy.deepcopy(self._layer, shared)

        def of_group(grad_output: Tensor, value: Tensor) -> dict[str, Tensor]:
            # The third is for functions that return more than the output.
            _, pull, *_ = vjp(lambda own: functional_call(layer, own, (value,)), leaves)
            found: dict[str, Tensor] = pull(grad_output)[0]
            return found

        try:
            found = vmap(of_group)(grad_output, value)
        except RuntimeError:
            parts = [of_group(*group) for group in zip(grad_output, value, strict=True)]
            found = {name: torch.stack([part[name] for part in parts]) for name in leaves}
        return {name: found[name.rpartition(".")[2]] for name in self._leaves if name in names}

    def _elements(self, names: AbstractSet[str]) -> int:
        return sum(leaf.numel() for name, leaf in self._leaves.items() if name in names)

"""The layers of a model in evaluation, as one function of a tensor and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

from gradserve_server.engine.network.rows import part
from gradserve_server.engine.network.rules import Rule, rule_of


class Segment(NamedTuple):
    """What belongs to one request of a batch.

    Attributes:
        rows: Its part of dimension 0; None for all of it.
        parameters: The names of the parameters whose gradients it asks for.
    """

    rows: slice | None
    parameters: AbstractSet[str]


_Collect: TypeAlias = Callable[[Rule, AbstractSet[str], Tensor, Tensor], None]
"""Takes a layer, which of its parameters are wanted, the gradient of its output, and its input."""


class Stack:
    """Computes with a model's weights, without its module: nothing here is changed by computing.

    Inputs are [N, ...] in the model's dtype on its device, with rows that stand for themselves.
    """

    def __init__(self, layers: nn.Sequential, prefix: str) -> None:
        """Read the layers.

        Args:
            layers: First to last. None of them mixes rows in evaluation.
            prefix: What stands before their names in those of the parameters.
        """
        # What a Linear has put out is needed by nothing but the layer behind it.
        followed = [False, *(isinstance(before, nn.Linear) for before, _ in pairwise(layers))]
        self._rules = tuple(
            rule_of(layer, f"{prefix}.{index}", overwrites=overwrites)
            for index, (layer, overwrites) in enumerate(zip(layers, followed, strict=True))
        )

    def forward(self, value: Tensor) -> Tensor:
        """The output for an input."""
        for rule in self._rules:
            value = rule.forward(value)
        return value

    def trace(self, value: Tensor) -> list[Tensor]:
        """The input, what each layer makes of it, and so last the output."""
        values = [value]
        for rule in self._rules:
            values.append(rule.forward(values[-1]))
        return values

    def backward(
        self, values: Sequence[Tensor], grad_output: Tensor, segments: Sequence[Segment], *, to_input: bool
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Go back from the output's gradient as far as anybody needs.

        Args:
            values: What `trace` gave.
            grad_output: The gradient of its last.
            segments: Whose parameters' gradients to compute, each from its own rows alone.
            to_input: Whether the input's gradient is needed.

        Returns:
            The gradient of the input (if it is not needed, of a value between), and those of each segment's parameters.
        """
        gradients: list[dict[str, Tensor]] = [{} for _ in segments]
        wanted = frozenset[str]().union(*(segment.parameters for segment in segments))

        def collect(rule: Rule, here: AbstractSet[str], grad_output: Tensor, value: Tensor) -> None:
            for (rows, parameters), found in zip(segments, gradients, strict=True):
                if names := here & parameters:
                    found.update(rule.grad_parameters(part(grad_output, rows), part(value, rows), names))

        return self._back(values, grad_output, wanted, collect, to_input=to_input), gradients

    def grad_input(self, values: Sequence[Tensor], grad_output: Tensor) -> Tensor:
        """As `backward`, the gradient of the input and no other."""
        for index in range(len(self._rules) - 1, -1, -1):
            grad_output = self._rules[index].grad_input(grad_output, values[index], values[index + 1])
        return grad_output

    def backward_of_groups(
        self,
        values: Sequence[Tensor],
        grad_output: Tensor,
        groups: int,
        parameters: AbstractSet[str],
        *,
        to_input: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `backward`, with the rows in groups of equal size, each with gradients of its own: [groups, *shape]."""
        gradients: dict[str, Tensor] = {}

        def collect(rule: Rule, names: AbstractSet[str], grad_output: Tensor, value: Tensor) -> None:
            own = _grouped(grad_output, groups), _grouped(value, groups)
            gradients.update(rule.grad_parameters_of_groups(*own, names))

        return self._back(values, grad_output, parameters, collect, to_input=to_input), gradients

    def norms_of_groups(
        self,
        values: Sequence[Tensor],
        grad_output: Tensor,
        groups: int,
        parameters: AbstractSet[str],
        *,
        to_input: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        """As `backward_of_groups`, of each parameter's gradients only the 2-norms [groups]."""
        norms: list[Tensor] = []

        def collect(rule: Rule, names: AbstractSet[str], grad_output: Tensor, value: Tensor) -> None:
            own = _grouped(grad_output, groups), _grouped(value, groups)
            norms.extend(rule.grad_norms_of_groups(*own, names))

        return self._back(values, grad_output, parameters, collect, to_input=to_input), norms

    def _back(
        self,
        values: Sequence[Tensor],
        grad_output: Tensor,
        wanted: AbstractSet[str],
        collect: _Collect,
        *,
        to_input: bool,
    ) -> Tensor:
        for index in range(len(self._rules) - 1, -1, -1):
            rule, value, output = self._rules[index], values[index], values[index + 1]
            if rule.parameters and (here := wanted & rule.parameters):
                collect(rule, here, grad_output, value)
                wanted -= here
            if not (wanted or to_input):
                break
            grad_output = rule.grad_input(grad_output, value, output)
        return grad_output


def _grouped(rows: Tensor, groups: int) -> Tensor:
    return rows.reshape(groups, -1, *rows.shape[1:])

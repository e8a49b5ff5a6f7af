"""One hosted MLP at one version: its module on its device, and how it is run without ever changing it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradserve_server.config import Limits
from gradserve_server.engine import global_state
from gradserve_server.engine.network.mlp import MLP, Blueprint
from gradserve_server.engine.network.shapes import Shape, Shapes
from gradserve_server.engine.network.stack import Stack
from gradserve_server.engine.plans.gradient import GradientPlans
from gradserve_server.engine.plans.input import InputPlans
from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.engine.tensors import aligned, dtype_name, to_torch
from gradserve_server.operations.calls import ForwardCall

# gRPC holds a message's size in a signed 32-bit integer.
_LARGEST_MESSAGE = 2**31 - 1


@dataclass(frozen=True)
class ParameterDescription:
    """One parameter: its name, shape, number of elements, and whether it requires grad."""

    name: str
    shape: Shape
    size: int
    requires_grad: bool


@dataclass(frozen=True, eq=False)
class Model:
    """Weights, and what may be asked of them.

    A change makes another Model: whoever holds this one computes on this version to the end. Its methods are called
    from its device's thread alone, as they set the module's training mode.

    Attributes:
        blueprint: The checked architecture.
        module: The layers with their weights.
        device: Where the weights are.
        dtype: What they are computed in.
        shapes: The architecture's shape rules.
        limits: What a request and its reply may not exceed.
        sha256: Of its state_dict as a file, where that is known.
        stack: The layers in evaluation, for any thread.
    """

    blueprint: Blueprint
    module: MLP
    device: torch.device
    dtype: torch.dtype
    shapes: Shapes
    limits: Limits
    sha256: bytes | None = None
    stack: Stack = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read the layers before anybody computes: in training the module holds copies of its buffers for a while."""
        object.__setattr__(self, "stack", Stack(self.module.layers, "layers"))

    @cached_property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The parameters by name, in order."""
        return dict(self.module.named_parameters())

    @cached_property
    def requires_grad(self) -> Mapping[str, bool]:
        """Whether each parameter requires grad."""
        return {name: parameter.requires_grad for name, parameter in self.parameters.items()}

    @cached_property
    def total_parameters(self) -> int:
        """The elements of all parameters."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @cached_property
    def trainable_parameters(self) -> int:
        """The elements of those that require grad."""
        return sum(parameter.numel() for parameter in self.parameters.values() if parameter.requires_grad)

    @cached_property
    def input_plans(self) -> InputPlans:
        """How inputs are computed."""
        return InputPlans(self.blueprint, self.shapes)

    @cached_property
    def gradient_plans(self) -> GradientPlans:
        """How Gradients are computed."""
        return GradientPlans(self.blueprint, self.input_plans, self.requires_grad, self.dtype, self.limits)

    def leaf(self, call: ForwardCall) -> Tensor:
        """The input as it was sent, on the device."""
        leaf = to_torch(call.input, self.device)
        return aligned(leaf) if call.deterministic else leaf

    def run(self, value: Tensor, *, training: bool, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Apply the layers; `value` is cast to the model's dtype. Running statistics stay as they are.

        Args:
            value: The input.
            training: Whether layers behave as after `model.train()`.
            parameters: What to compute with in place of the parameters of these names.
        """
        value = value.to(self.dtype)
        if self.module.training != training:
            self.module.train(training)
        # BatchNorm updates its statistics in place in training: let it update copies.
        buffers = self.module.named_buffers() if training else ()
        others = {name: buffer.clone() for name, buffer in buffers} | dict(parameters or {})
        output: Tensor = functional_call(self.module, others, (value,)) if others else self.module(value)
        return output

    def is_random(self, call: ForwardCall) -> bool:
        """Whether the call draws random numbers."""
        return call.training and self.blueprint.random

    @contextmanager
    def computing(self, operation: str, call: ForwardCall) -> Iterator[int | None]:
        """Compute inside the block: with the seed it yields, if any, and what torch refuses told apart."""
        with ExitStack() as stack:
            stack.enter_context(torch_refusals(operation, self.dtype, self.device))
            if call.deterministic:
                stack.enter_context(global_state.deterministic_algorithms())
            seed = None
            if self.is_random(call):
                seed = global_state.new_seed() if call.seed is None else call.seed
                stack.enter_context(global_state.seeded(seed, self.device))
            yield seed

    def reseed(self, seed: int | None) -> None:
        """Have random layers draw the same once more, in the block of `computing` that gave the seed, if any."""
        if seed is not None:
            global_state.set_seed(seed, self.device)

    def moved(self, device: torch.device, dtype: torch.dtype, requires_grad: Mapping[str, bool]) -> Model:
        """This model elsewhere, in another dtype or with other flags; memory is shared where nothing changes."""
        state = {name: _converted(value, device, dtype) for name, value in self.module.state_dict().items()}
        moved = self._holding(state, device, dtype, requires_grad)
        return moved if dtype != self.dtype else replace(moved, sha256=self.sha256)

    def unlimited(self) -> Model:
        """This model with replies as large as gRPC carries: what they may hold is for requests, not for the server."""
        return replace(self, limits=replace(self.limits, max_message_bytes=_LARGEST_MESSAGE))

    def on(self, device: torch.device) -> Model:
        """This model as one of a device, its weights left where they are: for one that has none yet."""
        return replace(self, device=device)

    def with_weights(self, weights: Mapping[str, Tensor], sha256: bytes | None = None) -> Model:
        """This model with some of its weights replaced; they are moved to its device, and the others are shared.

        Args:
            weights: By key.
            sha256: Of the new model's state_dict as a file, where that is known.
        """
        moved = {name: value.to(self.device) for name, value in weights.items()}
        new = self._holding({**self.module.state_dict(), **moved}, self.device, self.dtype, self.requires_grad)
        return replace(new, sha256=sha256)

    def _holding(
        self, state: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype, requires_grad: Mapping[str, bool]
    ) -> Model:
        module = copy.deepcopy(self.blueprint.skeleton)
        module.load_state_dict(state, assign=True)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(requires_grad[name])
        return Model(self.blueprint, module, device, dtype, self.shapes, self.limits)

    def describe_parameters(self) -> list[ParameterDescription]:
        """What `named_parameters()` holds, without the values."""
        return [
            ParameterDescription(name, tuple(parameter.shape), parameter.numel(), parameter.requires_grad)
            for name, parameter in self.parameters.items()
        ]

    @property
    def dtype_name(self) -> str:
        """The dtype without torch's prefix."""
        return dtype_name(self.dtype)


def _converted(value: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    # As Module.to: integer buffers, such as BatchNorm's count of batches, keep their dtype.
    return value.to(device, dtype if value.is_floating_point() else value.dtype)

"""What a model is asked to compute."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from gradserve_server.operations.arrays import Array

LossArgument: TypeAlias = bool | int | float | Array
"""An argument of a loss, as torch.nn.functional takes it."""


# Requests and results are made for each call, and not frozen: that would double what it takes to make one.


@dataclass(slots=True, eq=False)
class ForwardCall:
    """One Forward.

    Attributes:
        input: Floating, of shape [..., in_features].
        training: Whether layers behave as after `model.train()`.
        seed: What random layers draw from; None to have one drawn.
        deterministic: Whether to be bit-equal to torch in process.
        if_version: The version that the caller expects, compared when it is computed; None for any.
    """

    input: Array
    training: bool = False
    seed: int | None = None
    deterministic: bool = False
    if_version: int | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        return self.input.nbytes

    @property
    def rows(self) -> int:
        """The product of the input's leading dimensions."""
        return math.prod(self.input.shape[:-1])


@dataclass(slots=True, eq=False)
class LossCall:
    """A loss by the name that torch.nn.functional gives it, or "sum" or "mean".

    Attributes:
        name: The function.
        target: What the output is compared with; None for the losses that take none.
        reduction: "mean", "sum", "none", "batchmean", or empty for the default.
        arguments: Further arguments by torch's names.
    """

    name: str
    target: Array | None = None
    reduction: str = ""
    arguments: Mapping[str, LossArgument] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        tensors = (self.target, *self.arguments.values())
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, np.ndarray))


class PerSampleResult(enum.Enum):
    """What becomes of the gradients of each row."""

    FULL = enum.auto()
    """They are returned."""
    NORMS = enum.auto()
    """Only the 2-norm of all the gradients of a row together."""
    CLIPPED_SUM = enum.auto()
    """Their sum, after those of each row have been clipped together to a norm; and these norms."""


@dataclass(slots=True, eq=False)
class ObjectiveCall(ForwardCall):
    """What a request has that differentiates a number: a loss, or the output weighted by a vector.

    Attributes:
        loss: What to differentiate; None for the output itself.
        grad_output: What weights the output, or an unreduced loss.
    """

    loss: LossCall | None = None
    grad_output: Array | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        parts = (self.input, self.loss, self.grad_output)
        return sum(part.nbytes for part in parts if part is not None)


@dataclass(slots=True, eq=False)
class GradientCall(ObjectiveCall):
    """One Gradient; without a loss it is a vector-Jacobian product.

    Attributes:
        wrt: Globs over the parameters' names and the word "input"; empty for all that require grad.
        per_sample: Whether each row gets its own gradient.
        return_output: Whether to return the output too.
        is_grads_batched: Whether `grad_output` holds one vector behind the other, each for a product of its own.
        per_sample_result: What becomes of the gradients of each row; None unless `per_sample` and said.
        max_norm: What they are clipped to; 0 unless they are.
        form: Stands for all but the values of its tensors: calls with the same one have that in common. None where
            nobody has compared them.
    """

    wrt: tuple[str, ...] = ()
    per_sample: bool = False
    return_output: bool = False
    is_grads_batched: bool = False
    per_sample_result: PerSampleResult | None = None
    max_norm: float = 0.0
    form: object | None = None


@dataclass(slots=True, eq=False)
class JvpCall(ForwardCall):
    """One Jvp.

    Attributes:
        tangents: The directions by parameter name, the input's under "input".
        is_tangents_batched: Whether each holds K directions along dimension 0.
        return_output: Whether to return the output too.
    """

    tangents: Mapping[str, Array] = field(default_factory=dict)
    is_tangents_batched: bool = False
    return_output: bool = False

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        return self.input.nbytes + sum(tangent.nbytes for tangent in self.tangents.values())


class JacobianMode(enum.Enum):
    """How a Jacobian is computed."""

    REVERSE = enum.auto()
    """By vector-Jacobian products, one for each element of a row's output."""
    FORWARD = enum.auto()
    """By Jacobian-vector products, one for each element of what is differentiated by."""


@dataclass(slots=True, eq=False)
class JacobianCall(ForwardCall):
    """One Jacobian.

    Attributes:
        wrt: Globs over the parameters' names and the word "input"; empty for the input.
        mode: How it is computed; None for whichever takes fewer passes.
        chunk_size: The most products computed at once; None for as many as memory allows.
        return_output: Whether to return the output too.
    """

    wrt: tuple[str, ...] = ()
    mode: JacobianMode | None = None
    chunk_size: int | None = None
    return_output: bool = False


@dataclass(slots=True, eq=False)
class HvpCall(ObjectiveCall):
    """One Hvp.

    Attributes:
        vectors: By parameter name, the input's under "input".
        is_vectors_batched: Whether each holds K vectors along dimension 0.
        wrt: The rows of the Hessian, as in GradientCall; empty for those that have a vector.
        return_gradients: Whether to return the gradients with respect to these, too.
    """

    vectors: Mapping[str, Array] = field(default_factory=dict)
    is_vectors_batched: bool = False
    wrt: tuple[str, ...] = ()
    return_gradients: bool = False

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        # With arguments, as a dataclass with slots is another class than the one whose body this is.
        return super(HvpCall, self).nbytes + sum(vector.nbytes for vector in self.vectors.values())


@dataclass(slots=True, eq=False)
class CheckGradientsCall(ForwardCall):
    """One CheckGradients.

    Attributes:
        has_input: Whether there is an input; else some rows are drawn.
        loss: What is differentiated; None for the output, weighted by random numbers.
    """

    has_input: bool = True
    loss: LossCall | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        return self.input.nbytes + (0 if self.loss is None else self.loss.nbytes)

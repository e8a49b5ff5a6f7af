"""What calls that differentiate return: arrays by the names of what was differentiated by, and what was checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Derivatives(Mapping[str, T], Generic[T]):
    """A mapping from the names of parameters, and "input", to arrays of the kind of the input that was sent.

    Attributes:
        version: The version of the model that computed them.
        seed: The seed that random layers drew from; None where nothing was random.
    """

    version: int
    seed: int | None
    _by_name: Mapping[str, T]

    # Two results are equal only if they are one: arrays do not compare to a bool.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def input(self) -> T:
        """What there is of the input.

        Raises:
            AttributeError: `wrt` did not hold "input".
        """
        if "input" not in self._by_name:
            raise AttributeError('the input was not differentiated by: ask for it with wrt="input"')
        return self._by_name["input"]

    def __getitem__(self, name: str) -> T:
        """Return what there is of one parameter, or of "input"."""
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names: parameters in the order of `named_parameters()`, then "input"."""
        return iter(self._by_name)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._by_name)

    def __repr__(self) -> str:
        """Name what is there, without the numbers."""
        return f"{type(self).__name__}(of={list(self)}, version={self.version})"


@dataclass(frozen=True, eq=False, repr=False)
class Gradients(Derivatives[T]):
    """A loss and its gradients: a mapping from names to arrays of the kind of the input that was sent.

    `gradients["layers.0.weight"]` has the parameter's shape and dtype, `gradients["input"]` those of the input; with
    `per_sample`, each has one more dimension in front, of the size of the batch, and with `is_grads_batched` of the
    number of vectors. The attributes `loss`, `output`, `norms` and `input` exist only where they were asked for.
    """

    _loss: T | None
    _output: T | None
    _norms: T | None

    @property
    def loss(self) -> T:
        """The loss, in the model's dtype: a scalar, or one per element or row with reduction "none" or `per_sample`.

        Raises:
            AttributeError: No loss was given, only `grad_output`.
        """
        return _present(self._loss, "there is no loss: the call named none")

    @property
    def output(self) -> T:
        """The model's output, of shape [..., out_features].

        Raises:
            AttributeError: The call did not say `return_output=True`.
        """
        return _present(self._output, "there is no output: ask for it with return_output=True")

    @property
    def norms(self) -> T:
        """The 2-norm of all the gradients of each row together, before clipping: of shape [N].

        Raises:
            AttributeError: `per_sample_result` was neither "norms" nor "clipped_sum".
        """
        return _present(self._norms, 'there are no norms: ask for them with per_sample_result="norms"')

    def __repr__(self) -> str:
        """Tell the loss, and name the rest, without the numbers."""
        loss = "" if self._loss is None else f"loss={self._loss!r}, "
        return f"Gradients({loss}of={list(self)}, version={self.version})"


@dataclass(frozen=True, eq=False, repr=False)
class JacobianVectorProduct(Generic[T]):
    """How the output changes along directions of the input and of parameters.

    Attributes:
        jvp: The directional derivative of the output, in its shape; with `is_tangents_batched` one more dimension is
            in front, of the number of directions.
        version: The version of the model that computed it.
        seed: The seed that random layers drew from; None where nothing was random.
    """

    jvp: T
    version: int
    seed: int | None
    _output: T | None

    @property
    def output(self) -> T:
        """The model's output, of shape [..., out_features].

        Raises:
            AttributeError: The call did not say `return_output=True`.
        """
        return _present(self._output, "there is no output: ask for it with return_output=True")

    def __repr__(self) -> str:
        """Tell the product."""
        return f"JacobianVectorProduct(jvp={self.jvp!r}, version={self.version})"


@dataclass(frozen=True, eq=False, repr=False)
class Jacobians(Derivatives[T]):
    """The Jacobian of each row's output: a mapping from names to arrays of the kind of the input that was sent.

    For an input [..., in_features] and an output [..., out_features], `jacobians["input"]` has the shape
    [..., out_features, in_features], and that of a parameter [..., out_features, *shape].
    """

    _output: T | None

    @property
    def output(self) -> T:
        """The model's output, of shape [..., out_features].

        Raises:
            AttributeError: The call did not say `return_output=True`.
        """
        return _present(self._output, "there is no output: ask for it with return_output=True")


@dataclass(frozen=True, eq=False, repr=False)
class HessianVectorProducts(Derivatives[T]):
    """The Hessian times vectors: a mapping from names to arrays of the kind of the input that was sent.

    Each has the shape of its parameter or of the input; with `is_vectors_batched`, one more dimension is in front, of
    the number of vectors.

    Attributes:
        gradients: The gradients by name; empty unless the call said `return_gradients=True`.
    """

    gradients: Mapping[str, T]
    _loss: T | None

    @property
    def loss(self) -> T:
        """The loss, as that of `Gradients`.

        Raises:
            AttributeError: No loss was given, only `grad_output`.
        """
        return _present(self._loss, "there is no loss: the call named none")


@dataclass(frozen=True, slots=True)
class TaylorRemainder:
    """The remainder of a first-order Taylor expansion: |f(x + step v) - f(x) - step f'(x) v|."""

    step: float
    """The length of the step along the direction, relative to the point's norm, or to 1 if that is smaller."""
    remainder: float
    """The remainder."""


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """One check of derivatives."""

    name: str
    """"taylor", "finite_differences", "adjoint" or "hvp_symmetry"."""
    wrt: str
    """What is differentiated by: "input" or "parameters"."""
    passed: bool
    """Whether it passed."""
    value: float
    """For "taylor" the rate: 2 where the gradient is right, 1 where it is wrong; for the others the relative error."""
    threshold: float
    """What the value is held against: for "taylor" the least, for the others the most that passes."""
    remainders: tuple[TaylorRemainder, ...]
    """For "taylor": what the rate was taken from, the largest step first."""
    skipped_reason: str
    """Why it was left out, as the model has no such derivative; empty where it was made. What is left out has passed.
    """


@dataclass(frozen=True, slots=True)
class CheckedGradients:
    """What checking a model's gradients came to."""

    passed: bool
    """Whether all checks passed."""
    checks: tuple[GradientCheck, ...]
    """What was checked."""
    version: int
    """The version that was checked."""
    seed: int
    """What directions, weights and the default input were drawn from."""


def _present(value: T | None, otherwise: str) -> T:
    if value is None:
        raise AttributeError(otherwise)
    return value

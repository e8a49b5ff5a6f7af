# Written by client/generate.py from gradserve/_async/differentiation.py: edit that, and run `make sync`.
"""What a handle of a model differentiates, beside gradients: directions, whole Jacobians, second derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import numpy.typing as npt

from gradserve import _derivative_requests as derivatives
from gradserve import _inference_requests as requests
from gradserve import _replies
from gradserve._arrays import Array, ArrayLike, TorchTensor
from gradserve._derivative_requests import Directions, JacobianMode
from gradserve._derivative_results import CheckedGradients, HessianVectorProducts, Jacobians, JacobianVectorProduct
from gradserve._inference_requests import LossKwargs
from gradserve._options import UNSET, Timeout
from gradserve._sync.handle import Handle

T = TypeVar("T")


class Differentiation(Handle):
    """What a handle of a model does with derivatives other than gradients; `Model` adds the rest."""

    @overload
    def jvp(
        self,
        x: TorchTensor[T],
        tangent: Directions,
        *,
        is_tangents_batched: bool = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> JacobianVectorProduct[T]: ...

    @overload
    def jvp(
        self,
        x: npt.ArrayLike,
        tangent: Directions,
        *,
        is_tangents_batched: bool = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> JacobianVectorProduct[Array]: ...

    def jvp(  # noqa: PLR0913 - as many as the request has fields
        self,
        x: ArrayLike,
        tangent: Directions,
        *,
        is_tangents_batched: bool = False,
        return_output: bool = False,
        training: bool = False,
        seed: int | None = None,
        if_version: int | None = None,
        deterministic: bool = False,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Compute how the output changes along a direction, by forward-mode differentiation, as torch.func.jvp.

        Args:
            x: As in `forward`.
            tangent: The direction: of the input's shape, or a mapping from the names of parameters and "input" to
                directions of their shapes; what is not named stays as it is.
            is_tangents_batched: Whether there are K directions, each of shape [K, *shape], for K products.
            return_output: Whether to return the output too.
            training: As in `forward`.
            seed: As in `forward`.
            if_version: As in `forward`.
            deterministic: As in `forward`.
            timeout: Seconds; default: the client's.

        Raises:
            InvalidArgumentError: An argument is wrong; `field_violations` tells which.
            FailedPreconditionError: The model is at another version than `if_version`.
            UnimplementedError: A layer has no such derivative, or torch no kernel for this dtype and device.
            ResourceExhaustedError: The request or the reply is too large, or the server is full.
        """
        array, tangents = requests.array("input", x), derivatives.named("tangents", tangent)
        self._caller.check_sizes((array, *tangents.values()), timeout)
        run = requests.Run(training, seed, if_version, deterministic)
        request = derivatives.jvp(
            self.name, array, tangents, run, is_tangents_batched=is_tangents_batched, return_output=return_output
        )
        reply = self._caller.call(self._caller.connection.inference.Jvp, request, timeout)
        return _replies.jvp(reply, x)

    @overload
    def jacobian(
        self,
        x: TorchTensor[T],
        *,
        wrt: str | Sequence[str] = ...,
        mode: JacobianMode = ...,
        chunk_size: int | None = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> Jacobians[T]: ...

    @overload
    def jacobian(
        self,
        x: npt.ArrayLike,
        *,
        wrt: str | Sequence[str] = ...,
        mode: JacobianMode = ...,
        chunk_size: int | None = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> Jacobians[Array]: ...

    def jacobian(  # noqa: PLR0913 - as many as the request has fields
        self,
        x: ArrayLike,
        *,
        wrt: str | Sequence[str] = (),
        mode: JacobianMode = "auto",
        chunk_size: int | None = None,
        return_output: bool = False,
        training: bool = False,
        seed: int | None = None,
        if_version: int | None = None,
        deterministic: bool = False,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Compute the Jacobian of each row's output, with respect to that row's input or to parameters.

        Args:
            x: As in `forward`.
            wrt: As in `gradient`. Default: "input".
            mode: "reverse" (as torch.func.jacrev), "forward" (as torch.func.jacfwd), or "auto" for whichever takes
                fewer passes.
            chunk_size: The most products computed at once: less memory, and more time. Default: all.
            return_output: Whether to return the output too.
            training: As in `forward`; layers that mix rows in training are refused.
            seed: As in `forward`.
            if_version: As in `forward`.
            deterministic: As in `forward`.
            timeout: Seconds; default: the client's.

        Raises:
            InvalidArgumentError: An argument is wrong; `field_violations` tells which.
            FailedPreconditionError: The model is at another version than `if_version`, a parameter named in `wrt` is
                frozen, or nothing is left to differentiate.
            UnimplementedError: A layer has no such derivative, or torch no kernel for this dtype and device.
            ResourceExhaustedError: The request or the reply is too large, or the server is full.
        """
        array = requests.array("input", x)
        self._caller.check_sizes((array,), timeout)
        run = requests.Run(training, seed, if_version, deterministic)
        request = derivatives.jacobian(
            self.name, array, run, wrt=wrt, mode=mode, chunk_size=chunk_size, return_output=return_output
        )
        reply = self._caller.call(self._caller.connection.inference.Jacobian, request, timeout)
        return _replies.jacobians(reply, x)

    @overload
    def hvp(
        self,
        x: TorchTensor[T],
        target: ArrayLike | None,
        vector: Directions,
        *,
        loss: str | None = ...,
        loss_kwargs: LossKwargs | None = ...,
        reduction: str | None = ...,
        grad_output: ArrayLike | None = ...,
        wrt: str | Sequence[str] = ...,
        is_vectors_batched: bool = ...,
        return_gradients: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> HessianVectorProducts[T]: ...

    @overload
    def hvp(
        self,
        x: npt.ArrayLike,
        target: ArrayLike | None,
        vector: Directions,
        *,
        loss: str | None = ...,
        loss_kwargs: LossKwargs | None = ...,
        reduction: str | None = ...,
        grad_output: ArrayLike | None = ...,
        wrt: str | Sequence[str] = ...,
        is_vectors_batched: bool = ...,
        return_gradients: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> HessianVectorProducts[Array]: ...

    def hvp(  # noqa: PLR0913 - as many as the request has fields
        self,
        x: ArrayLike,
        target: ArrayLike | None,
        vector: Directions,
        *,
        loss: str | None = None,
        loss_kwargs: LossKwargs | None = None,
        reduction: str | None = None,
        grad_output: ArrayLike | None = None,
        wrt: str | Sequence[str] = (),
        is_vectors_batched: bool = False,
        return_gradients: bool = False,
        training: bool = False,
        seed: int | None = None,
        if_version: int | None = None,
        deterministic: bool = False,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Compute the Hessian of a loss, or of the output weighted by `grad_output`, times a vector.

        Args:
            x: As in `forward`.
            target: As in `gradient`; None where there is none.
            vector: The vector: of the input's shape, or a mapping from the names of parameters and "input" to vectors
                of their shapes. The Hessian is that with respect to all that are named here and in `wrt`, together.
            loss: As in `gradient`.
            loss_kwargs: As in `gradient`.
            reduction: As in `gradient`.
            grad_output: What the output is weighted by, or, with a loss of reduction "none", the unreduced loss.
            wrt: Of which rows of the Hessian to return the products, as in `gradient`. Default: those with a vector.
            is_vectors_batched: Whether there are K vectors, each of shape [K, *shape], for K products.
            return_gradients: Whether to return the gradients with respect to `wrt` too.
            training: As in `forward`.
            seed: As in `forward`.
            if_version: As in `forward`.
            deterministic: As in `forward`.
            timeout: Seconds; default: the client's.

        Raises:
            InvalidArgumentError: An argument is wrong; `field_violations` tells which.
            FailedPreconditionError: The model is at another version than `if_version`, or a parameter that is named is
                frozen.
            UnimplementedError: A layer or the loss has no second derivative, or torch no kernel for this dtype and
                device.
            ResourceExhaustedError: The request or the reply is too large, or the server is full.
        """
        array, vectors = requests.array("input", x), derivatives.named("vectors", vector)
        objective = requests.objective_of(target, loss, loss_kwargs, reduction, grad_output)
        self._caller.check_sizes((array, *objective.arrays, *vectors.values()), timeout)
        run = requests.Run(training, seed, if_version, deterministic)
        request = derivatives.hvp(
            self.name,
            array,
            objective,
            vectors,
            run,
            wrt=wrt,
            is_vectors_batched=is_vectors_batched,
            return_gradients=return_gradients,
        )
        reply = self._caller.call(self._caller.connection.inference.Hvp, request, timeout)
        return _replies.hvp(reply, x)

    def check_gradients(  # noqa: PLR0913 - as many as the request has fields
        self,
        x: ArrayLike | None = None,
        target: ArrayLike | None = None,
        *,
        loss: str | None = None,
        loss_kwargs: LossKwargs | None = None,
        reduction: str | None = None,
        seed: int | None = None,
        if_version: int | None = None,
        timeout: Timeout = UNSET,
    ) -> CheckedGradients:
        """Have the server check the model's derivatives against each other and its outputs, on a float64 copy of it.

        Args:
            x: Where to check: as in `forward`. Default: eight rows, normally distributed.
            target: As in `gradient`.
            loss: What to check the gradients of, as in `gradient`. Default: the output, weighted by random numbers.
            loss_kwargs: As in `gradient`.
            reduction: As in `gradient`.
            seed: What directions, weights and the default input are drawn from. Default: the server draws one.
            if_version: As in `forward`.
            timeout: Seconds; default: the client's.

        Raises:
            InvalidArgumentError: An argument is wrong; `field_violations` tells which.
            FailedPreconditionError: The model is at another version than `if_version`.
            ResourceExhaustedError: The input is too large, or the server is full.
        """
        array = None if x is None else requests.array("input", x)
        objective = requests.objective_of(target, loss, loss_kwargs, reduction, None)
        if array is not None:
            self._caller.check_sizes((array, *objective.arrays), timeout)
        request = derivatives.check_gradients(self.name, array, objective, seed=seed, if_version=if_version)
        reply = self._caller.call(self._caller.connection.inference.CheckGradients, request, timeout)
        return _replies.checked_gradients(reply)

"""What a handle of a model computes: outputs and gradients, one call at a time or in a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import numpy.typing as npt

from gradserve import _inference_requests as requests
from gradserve import _replies
from gradserve._arrays import Array, ArrayLike, TorchTensor
from gradserve._async.handle import Handle
from gradserve._async.stream import AsyncStream
from gradserve._derivative_results import Gradients
from gradserve._inference_requests import LossKwargs, PerSampleResult
from gradserve._options import UNSET, Timeout

T = TypeVar("T")


class Inference(Handle):
    """What a handle of a model does with inputs; `Model` adds the rest."""

    @overload
    async def forward(
        self,
        x: TorchTensor[T],
        *,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> T: ...

    @overload
    async def forward(
        self,
        x: npt.ArrayLike,
        *,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> Array: ...

    async def forward(
        self,
        x: ArrayLike,
        *,
        training: bool = False,
        seed: int | None = None,
        if_version: int | None = None,
        deterministic: bool = False,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Compute the model's output. `model(x)` is the same.

        Args:
            x: Floating, of shape [..., in_features]; cast to the model's dtype.
            training: Whether layers such as Dropout and BatchNorm1d behave as after `model.train()`.
            seed: What random layers draw from in training. Default: the server draws one.
            if_version: The version that the model must be at; None for any.
            deterministic: Compute alone, bit-equal to torch in process on the same kind of device with the same number
                of threads; otherwise rows may be computed with those of others, within float tolerance.
            timeout: Seconds; default: the client's.

        Returns:
            The output, of shape [..., out_features], in the model's dtype.

        Raises:
            InvalidArgumentError: The input has the wrong shape or dtype.
            FailedPreconditionError: The model is at another version than `if_version`.
            ResourceExhaustedError: The input or the output is too large, or the server is full.
        """
        array = requests.array("input", x)
        await self._caller.check_sizes((array,), timeout)
        run = requests.Run(training, seed, if_version, deterministic)
        request = requests.forward(self.name, array, run)
        reply = await self._caller.call(self._caller.connection.inference.Forward, request, timeout)
        return _replies.array(reply.output, x)

    __call__ = forward

    @overload
    async def gradient(
        self,
        x: TorchTensor[T],
        target: ArrayLike | None = ...,
        *,
        loss: str | None = ...,
        loss_kwargs: LossKwargs | None = ...,
        reduction: str | None = ...,
        grad_output: ArrayLike | None = ...,
        wrt: str | Sequence[str] = ...,
        per_sample: bool = ...,
        per_sample_result: PerSampleResult | None = ...,
        max_norm: float | None = ...,
        is_grads_batched: bool = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> Gradients[T]: ...

    @overload
    async def gradient(
        self,
        x: npt.ArrayLike,
        target: ArrayLike | None = ...,
        *,
        loss: str | None = ...,
        loss_kwargs: LossKwargs | None = ...,
        reduction: str | None = ...,
        grad_output: ArrayLike | None = ...,
        wrt: str | Sequence[str] = ...,
        per_sample: bool = ...,
        per_sample_result: PerSampleResult | None = ...,
        max_norm: float | None = ...,
        is_grads_batched: bool = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> Gradients[Array]: ...

    async def gradient(  # noqa: PLR0913 - as many as the request has fields
        self,
        x: ArrayLike,
        target: ArrayLike | None = None,
        *,
        loss: str | None = None,
        loss_kwargs: LossKwargs | None = None,
        reduction: str | None = None,
        grad_output: ArrayLike | None = None,
        wrt: str | Sequence[str] = (),
        per_sample: bool = False,
        per_sample_result: PerSampleResult | None = None,
        max_norm: float | None = None,
        is_grads_batched: bool = False,
        return_output: bool = False,
        training: bool = False,
        seed: int | None = None,
        if_version: int | None = None,
        deterministic: bool = False,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Compute a loss and its gradients, or a vector-Jacobian product, in one round trip.

        Either `loss` or `grad_output` is needed; both only with reduction "none".

        Args:
            x: As in `forward`.
            target: What the output is compared with: of the output's shape for float losses; class ids of any integer
                dtype, of shape [N] for an output [N, C], for class losses.
            loss: A function of torch.nn.functional, such as "mse_loss" or "cross_entropy", or "sum" or "mean" of the
                output; `ServerInfo.losses` lists them.
            loss_kwargs: Its further arguments by torch's names, such as `{"label_smoothing": 0.1}`.
            reduction: "mean", "sum" or "none"; "batchmean" too for kl_div. Default: "mean".
            grad_output: The vector of a vector-Jacobian product: of the output's shape, or, with a loss of reduction
                "none", of the unreduced loss's shape. With `is_grads_batched`, of shape [K, ...].
            wrt: What to differentiate with respect to: one or more globs over the parameters' names, and the word
                "input". Default: every parameter that requires grad, as `.backward()`.
            per_sample: One gradient per row of an input [N, in_features].
            per_sample_result: What becomes of those: "full" returns them, "norms" only the 2-norm of each row's, and
                "clipped_sum" their sum over the rows after each row's have been clipped. Default: "full".
            max_norm: For "clipped_sum": the 2-norm to which a row's gradients are clipped, all of them together, as by
                `torch.nn.utils.clip_grad_norm_`; positive.
            is_grads_batched: Whether `grad_output` holds K vectors, for K products of the one input; each gradient then
                has one more dimension in front, as with that argument of `torch.autograd.grad`.
            return_output: Whether to return the output too.
            training: As in `forward`.
            seed: As in `forward`.
            if_version: As in `forward`.
            deterministic: As in `forward`; with `per_sample`, rows are computed one by one.
            timeout: Seconds; default: the client's.

        Raises:
            InvalidArgumentError: An argument is wrong; `field_violations` tells which.
            FailedPreconditionError: The model is at another version than `if_version`, a parameter named in `wrt` is
                frozen, or nothing is left to differentiate.
            UnimplementedError: torch has no kernel for this operation, dtype and device.
            ResourceExhaustedError: The request or the reply is too large, or the server is full.
        """
        array = requests.array("input", x)
        objective = requests.objective_of(target, loss, loss_kwargs, reduction, grad_output)
        await self._caller.check_sizes((array, *objective.arrays), timeout)
        run = requests.Run(training, seed, if_version, deterministic)
        options = requests.GradientOptions(
            wrt, per_sample, per_sample_result, max_norm, is_grads_batched, return_output
        )
        request = requests.gradient(self.name, array, objective, run, options)
        reply = await self._caller.call(self._caller.connection.inference.Gradient, request, timeout)
        return _replies.gradients(reply, x)

    def stream(self, *, max_in_flight: int = 64) -> AsyncStream:
        """Open a stream, for requests that do not wait for each other's answers; no call is made before the first.

        Each costs both sides less than a call of its own, also where the next is made of the last one's answer.

        Args:
            max_in_flight: The most requests that have no answer yet; one more waits for an answer before it is sent.

        Raises:
            ValueError: `max_in_flight` is not positive.
        """
        return AsyncStream(self.name, self._caller, max_in_flight)

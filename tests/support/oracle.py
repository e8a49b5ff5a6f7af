"""What torch in process answers to each operation: the semantics written down once more, as plainly as can be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_, get_total_norm

LayerArgument: TypeAlias = bool | int | float | str | tuple[int, ...]
LossArgument: TypeAlias = bool | int | float | Tensor

CLASS_LOSSES = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss", "multilabel_margin_loss"})
# Without rows torch leaves the result of these two uninitialised; they are to be like the other losses.
_MARGIN_LOSSES = frozenset({"multi_margin_loss", "multilabel_margin_loss"})
_RANDOM = (nn.RReLU, nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)


class RefusedError(Exception):
    """Torch, or a rule that Gradserve adds to torch's, does not allow the request."""

    @property
    def no_kernel(self) -> bool:
        """Whether torch knows the operation, though not for this dtype, or not its derivative."""
        return "not implemented for" in str(self) or "is not implemented" in str(self)


@dataclass(frozen=True)
class Layer:
    """One torch.nn module: its class name and its constructor's arguments."""

    type: str
    arguments: Mapping[str, LayerArgument] = field(default_factory=dict)


class Hosted(nn.Module):
    """A model with its weights as a server draws them: its parameters are named `layers.<i>.<name>`."""

    def __init__(self, layers: Sequence[Layer], seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(seed)
        with refusals():
            self.layers = nn.Sequential(*(getattr(nn, layer.type)(**layer.arguments) for layer in layers)).to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """The output for an input of any floating dtype, on any device."""
        device = next((parameter.device for parameter in self.parameters()), x.device)
        output: Tensor = self.layers(x.to(self.dtype).to(device))
        return output


@dataclass(frozen=True)
class Loss:
    """A loss by torch.nn.functional's name for it, or "sum" or "mean"."""

    name: str
    target: Tensor | None = None
    reduction: str = ""
    arguments: Mapping[str, LossArgument] = field(default_factory=dict)

    def of(self, output: Tensor) -> Tensor:
        """The loss of an output; a scalar unless the reduction is "none"."""
        if self.name in {"sum", "mean"}:
            return output.sum() if self.name == "sum" else output.mean()
        if self.target is None:
            raise RefusedError(f"{self.name} needs a target")
        if self.name in CLASS_LOSSES and not self.target.is_floating_point():
            if output.ndim > 2:
                raise RefusedError("torch would take dim 1 as the classes")
            target = self.target.to(output.device, torch.int64)
        else:
            target = self.target.to(output.device, output.dtype)
        reduction = self.reduction or "mean"
        if self.name in _MARGIN_LOSSES and not output.numel():
            return _reduced(output.sum(-1), reduction)
        arguments = {name: _cast(argument, output) for name, argument in self.arguments.items()}
        loss: Tensor = getattr(functional, self.name)(output, target, reduction=reduction, **arguments)
        return loss

    def row(self, index: int, rows: int) -> Loss:
        """The loss of one row: its target, and the part of each argument that belongs to it."""
        arguments = {
            name: argument[index : index + 1] if self._has_rows(name, argument, rows) else argument
            for name, argument in self.arguments.items()
        }
        target = None if self.target is None else self.target[index : index + 1]
        return replace(self, target=target, arguments=arguments)

    def _has_rows(self, name: str, argument: LossArgument, rows: int) -> bool:
        if not isinstance(argument, Tensor) or argument.shape[:1] != (rows,):
            return False
        return argument.ndim == 2 or (self.name, name) == ("gaussian_nll_loss", "var")


@dataclass(frozen=True)
class Question:
    """The computing part of a request."""

    input: Tensor
    training: bool = False
    seed: int = 0
    loss: Loss | None = None
    grad_output: Tensor | None = None
    wrt: tuple[str, ...] = ()
    per_sample: bool = False
    tangents: Mapping[str, Tensor] = field(default_factory=dict)
    vectors: Mapping[str, Tensor] = field(default_factory=dict)
    batched: bool = False
    return_gradients: bool = False
    per_sample_result: str = "FULL"
    max_norm: float = 0.0
    is_grads_batched: bool = False


@dataclass(frozen=True)
class Answer:
    """What the reply must hold; everything on the CPU."""

    output: Tensor
    loss: Tensor | None = None
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    products: Mapping[str, Tensor] = field(default_factory=dict)
    norms: Tensor | None = None


def forward(model: Hosted, question: Question) -> Answer:
    """Computes `model(input)`; a model in training mode has changed its statistics afterwards, so use it once."""
    with refusals(), torch.no_grad():
        return Answer(run(model, question, question.input).cpu())


def gradient(model: Hosted, question: Question) -> Answer:
    """Computes a loss and its gradients, or a vector-Jacobian product; use a model once."""
    with refusals():
        if question.per_sample:
            return _per_sample(model, question)
        return _one_gradient(model, question)


def draws_random_numbers(model: Hosted) -> bool:
    """Whether a layer needs a seed in training."""
    return any(isinstance(module, _RANDOM) for module in model.modules())


def run(model: Hosted, question: Question, x: Tensor) -> Tensor:
    """The output for an input, with the question's mode and seed."""
    model.train(question.training)
    if question.training:
        torch.manual_seed(question.seed)
    output: Tensor = model(x)
    return output


def leaves_of(model: Hosted, question: Question, x: Tensor) -> dict[str, Tensor]:
    """What the question differentiates by, by name."""
    globs = question.wrt or ("*",)
    leaves: dict[str, Tensor] = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and any(fnmatchcase(name, glob) for glob in globs)
    }
    return {**leaves, "input": x} if "input" in question.wrt else leaves


def _one_gradient(model: Hosted, question: Question) -> Answer:
    # Not a copy: where a row lies in memory can change its last bit.
    x = question.input.detach().requires_grad_("input" in question.wrt)
    output = run(model, question, x)
    loss, gradients = _backward(output, leaves_of(model, question, x), question, retain=False)
    return Answer(output.detach().cpu(), loss, gradients)


def _backward(
    output: Tensor, leaves: Mapping[str, Tensor], question: Question, *, retain: bool
) -> tuple[Tensor | None, dict[str, Tensor]]:
    loss = None if question.loss is None else question.loss.of(output)
    value = output if loss is None else loss
    vector = None if question.grad_output is None else question.grad_output.to(value.dtype).to(value.device)
    found = vector_gradients(value, list(leaves.values()), vector, batched=question.is_grads_batched, retain=retain)
    gradients = {name: gradient.cpu() for name, gradient in zip(leaves, found, strict=True)}
    return None if loss is None else loss.detach().cpu(), gradients


def vector_gradients(
    value: Tensor, leaves: Sequence[Tensor], vector: Tensor | None, *, batched: bool, retain: bool = False
) -> tuple[Tensor, ...]:
    """The gradients for a vector, or for each of several."""
    options = {"allow_unused": True, "materialize_grads": True}
    if not batched or vector is None:
        return torch.autograd.grad(value, leaves, vector, retain_graph=retain, **options)
    try:
        return torch.autograd.grad(value, leaves, vector, retain_graph=True, is_grads_batched=True, **options)
    except RuntimeError:
        # torch cannot vectorise some of its kernels.
        rows = [torch.autograd.grad(value, leaves, own, retain_graph=True, **options) for own in vector]
        return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def _per_sample(model: Hosted, question: Question) -> Answer:
    if question.input.ndim != 2:
        raise RefusedError("per_sample takes an input [N, in_features]")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    if any(question.training or not norm.track_running_stats for norm in norms):
        raise RefusedError("BatchNorm1d computes its statistics over the rows")
    rows = len(question.input)
    answers = list(_masked_rows(model, question) if _is_random(model, question) else _lone_rows(model, question))
    leaves = leaves_of(model, question, question.input)
    empty = {name: leaf.new_empty(leaf.shape if name == "input" else (0, *leaf.shape)) for name, leaf in leaves.items()}
    if not rows:
        output = run(model, question, question.input).detach().cpu()
        loss = None if question.loss is None else question.loss.of(output)
        losses = output.new_empty(0) if loss is not None and not loss.ndim else loss
        return _condensed(Answer(output, losses, empty), question)
    losses = [answer.loss.reshape(1, *answer.loss.shape[1:]) for answer in answers if answer.loss is not None]
    gradients = {name: torch.cat([_as_row(name, answer.gradients[name]) for answer in answers]) for name in empty}
    output = torch.cat([answer.output for answer in answers])
    return _condensed(Answer(output, torch.cat(losses) if losses else None, gradients), question)


def _condensed(answer: Answer, question: Question) -> Answer:
    """What is asked of the gradients of all rows."""
    if question.per_sample_result == "FULL":
        return answer
    dtype = answer.output.dtype
    rows = [[gradient[i].to(dtype) for gradient in answer.gradients.values()] for i in range(len(answer.output))]
    norms = torch.stack([get_total_norm(row) for row in rows]) if rows else answer.output.new_empty(0)
    if question.per_sample_result == "NORMS":
        return replace(answer, gradients={}, norms=norms)
    sums = {name: torch.zeros_like(gradient.sum(0)) for name, gradient in answer.gradients.items()}
    for row in rows:
        parameters = [nn.Parameter(own) for own in row]
        for parameter, own in zip(parameters, row, strict=True):
            parameter.grad = own.clone()
        clip_grad_norm_(parameters, question.max_norm)
        sums = {name: sum_ + own.grad for (name, sum_), own in zip(sums.items(), parameters, strict=True)}
    return replace(answer, gradients=sums, norms=norms)


def _as_row(name: str, gradient: Tensor) -> Tensor:
    # The gradient of a row of the input already has the row's dimension.
    return gradient if name == "input" else gradient[None]


def _is_random(model: Hosted, question: Question) -> bool:
    return question.training and draws_random_numbers(model)


def _row(question: Question, index: int) -> Question:
    return replace(
        question,
        input=question.input[index : index + 1],
        loss=None if question.loss is None else question.loss.row(index, len(question.input)),
        grad_output=None if question.grad_output is None else question.grad_output[index : index + 1],
    )


def _lone_rows(model: Hosted, question: Question) -> Iterator[Answer]:
    for index in range(len(question.input)):
        yield _one_gradient(model, _row(question, index))


def _masked_rows(model: Hosted, question: Question) -> Iterator[Answer]:
    # A row alone would draw another mask than it has in the batch, so the batch is computed once and each row's
    # loss goes back through it.
    x = question.input.detach().requires_grad_("input" in question.wrt)
    batch = run(model, question, x)
    leaves = leaves_of(model, question, x)
    for index in range(len(x)):
        output = batch[index : index + 1]
        loss, gradients = _backward(output, leaves, _row(question, index), retain=True)
        if "input" in gradients:
            gradients["input"] = gradients["input"][index : index + 1]
        yield Answer(output.detach().cpu(), loss, gradients)


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def _cast(argument: LossArgument, output: Tensor) -> LossArgument:
    return argument.to(output.device, output.dtype) if isinstance(argument, Tensor) else argument


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what torch raises into RefusedError, and keeps its warnings to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise RefusedError(str(error)) from error

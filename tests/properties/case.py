"""One random case: a model, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from tests.properties.sample import Sample
from tests.support.oracle import Hosted, Layer, Loss, Question


@dataclass(frozen=True)
class LossCase:
    """A loss, with its tensors as samples."""

    name: str
    target: Sample | None = None
    reduction: str = ""
    arguments: Mapping[str, bool | int | float | Sample] = field(default_factory=dict)

    def loss(self) -> Loss:
        """The loss with real tensors."""
        arguments = {
            name: argument.tensor() if isinstance(argument, Sample) else argument
            for name, argument in self.arguments.items()
        }
        return Loss(self.name, self.target.tensor() if self.target else None, self.reduction, arguments)


@dataclass(frozen=True)
class Case:
    """A model and one request to it; `Case(...)`, as a failing test prints it, is the whole of it."""

    layers: tuple[Layer, ...]
    input: Sample
    dtype: str = "float32"
    weights_seed: int = 0
    frozen: tuple[str, ...] = ()
    training: bool = False
    seed: int | None = None
    deterministic: bool = True
    loss: LossCase | None = None
    grad_output: Sample | None = None
    wrt: tuple[str, ...] = ()
    per_sample: bool = False
    per_sample_result: str = "UNSPECIFIED"
    max_norm: float = 0.0
    is_grads_batched: bool = False
    return_output: bool = False
    tangents: Mapping[str, Sample] = field(default_factory=dict)
    vectors: Mapping[str, Sample] = field(default_factory=dict)
    batched: bool = False
    return_gradients: bool = False

    @property
    def returns_output(self) -> bool:
        """Whether the reply holds the output: Forward's always does."""
        return self.return_output or not (self.loss or self.grad_output or self.tangents)

    def model(self, device: str) -> Hosted:
        """The model in this process."""
        model = Hosted(self.layers, self.weights_seed, getattr(torch, self.dtype)).to(device)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in self.frozen)
        return model

    def question(self, drawn_seed: int = 0) -> Question:
        """The request with real tensors, given the seed that the server drew if the case has none."""
        return Question(
            input=self.input.tensor(),
            training=self.training,
            seed=drawn_seed if self.seed is None else self.seed,
            loss=self.loss.loss() if self.loss else None,
            grad_output=self.grad_output.tensor() if self.grad_output else None,
            wrt=self.wrt,
            per_sample=self.per_sample,
            tangents={name: sample.tensor() for name, sample in self.tangents.items()},
            vectors={name: sample.tensor() for name, sample in self.vectors.items()},
            batched=self.batched,
            return_gradients=self.return_gradients,
            per_sample_result=self.per_sample_result.replace("UNSPECIFIED", "FULL"),
            max_norm=self.max_norm,
            is_grads_batched=self.is_grads_batched,
        )

    def choices(self) -> Iterator[tuple[str, str]]:
        """What was chosen, as pairs of a group and a choice, to be counted."""
        yield from {("layer", layer.type) for layer in self.layers}
        yield "dtype", self.dtype
        yield "input dtype", self.input.dtype
        yield "input rank", str(len(self.input.shape))
        yield from (("option", option) for option, chosen in self._options().items() if chosen)
        if self.loss:
            yield "loss", f"{self.loss.name} {self.loss.reduction or 'by default'}"
            yield from (("loss argument", f"{self.loss.name} {argument}") for argument in self.loss.arguments)
            if self.loss.target:
                yield "target dtype", self.loss.target.dtype

    def _options(self) -> dict[str, bool]:
        return {
            "training": self.training,
            "seed": self.seed is not None,
            "training, seed drawn by the server": self.training and self.seed is None,
            "deterministic": self.deterministic,
            "not deterministic": not self.deterministic,
            "zero rows": 0 in self.input.shape,
            "NaN or infinity in the input": self.input.kind == "nonfinite",
            "frozen parameter": bool(self.frozen),
            **(self._gradient_options() if self.loss or self.grad_output else {}),
            **(self._direction_options() if self.tangents or self.vectors else {}),
        }

    def _gradient_options(self) -> dict[str, bool]:
        return {
            "grad_output alone": self.grad_output is not None and self.loss is None,
            "grad_output with a loss": self.grad_output is not None and self.loss is not None,
            "per_sample": self.per_sample,
            "per_sample and grad_output": self.per_sample and self.grad_output is not None,
            "per_sample in training": self.per_sample and self.training,
            "is_grads_batched": self.is_grads_batched,
            "is_grads_batched with a loss": self.is_grads_batched and self.loss is not None,
            **{
                f"per_sample {kind.lower()}": self.per_sample_result == kind
                for kind in ("FULL", "NORMS", "CLIPPED_SUM")
            },
            "return_output": self.return_output,
            "wrt everything by default": not self.wrt,
            "wrt input": "input" in self.wrt,
            "wrt a glob": any("*" in glob for glob in self.wrt),
            "wrt a full name": any("." in glob and "*" not in glob for glob in self.wrt),
        }

    def _direction_options(self) -> dict[str, bool]:
        names = {*self.tangents, *self.vectors}
        return {
            "directions of the input": "input" in names,
            "directions of parameters": bool(names - {"input"}),
            "directions of the input and of parameters": len(names) > 1 and "input" in names,
            "several directions": self.batched,
            "several directions in training": self.batched and self.training,
            "several directions, not deterministic": self.batched and not self.deterministic,
            "return_gradients": self.return_gradients,
        }

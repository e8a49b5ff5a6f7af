"""What each call needs. A method that is not in this table is not served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gradserve_server.config import Right
from gradserve_server.gradient_names import split


class Rule(NamedTuple):
    """What a call of one method needs.

    Attributes:
        right: The right that its token must have; None if any token will do.
        model: The path of the request's field that names the model, for which the token must be; empty if none does.
        token: Whether it needs a token at all.
        gradient: The right in the place of the other where the field says NAME.gradient, which stands for NAME.
    """

    right: Right | None = None
    model: str = ""
    token: bool = True
    gradient: Right | None = None

    def needs(self, name: str) -> tuple[Right | None, str]:
        """The right that a call needs by what it says in the field of the model, and the model that it is about."""
        model, of_gradient = split(name)
        return (self.gradient if self.gradient and of_gradient else self.right), model


_ANYBODY = Rule(token=False)
_ANY_TOKEN = Rule()

_HEALTH = "grpc.health.v1.Health"
_INFERENCE = "gradserve.v1.InferenceService"
_OPEN_INFERENCE = "inference.GRPCInferenceService"
_MODELS = "gradserve.v1.ModelService"
_STATE = "gradserve.v1.StateService"

RULES: Mapping[str, Rule] = {
    f"{_INFERENCE}.Forward": Rule(Right.FORWARD, "model"),
    f"{_INFERENCE}.Gradient": Rule(Right.GRADIENT, "model"),
    f"{_INFERENCE}.Jvp": Rule(Right.GRADIENT, "model"),
    f"{_INFERENCE}.Jacobian": Rule(Right.GRADIENT, "model"),
    f"{_INFERENCE}.Hvp": Rule(Right.GRADIENT, "model"),
    f"{_INFERENCE}.CheckGradients": Rule(Right.GRADIENT, "model"),
    f"{_INFERENCE}.ForwardStream": Rule(Right.FORWARD, "request.model"),
    f"{_INFERENCE}.GradientStream": Rule(Right.GRADIENT, "request.model"),
    f"{_MODELS}.CreateModel": Rule(Right.MODELS_WRITE, "name"),
    f"{_MODELS}.GetModel": Rule(None, "name"),
    # Its reply leaves out the models that the token is not for.
    f"{_MODELS}.ListModels": _ANY_TOKEN,
    f"{_MODELS}.UpdateModel": Rule(Right.MODELS_WRITE, "name"),
    f"{_MODELS}.DeleteModel": Rule(Right.MODELS_WRITE, "name"),
    f"{_MODELS}.GetServerInfo": _ANY_TOKEN,
    f"{_STATE}.GetStateDict": Rule(Right.WEIGHTS_READ, "model"),
    f"{_STATE}.LoadStateDict": Rule(Right.WEIGHTS_WRITE, "header.model"),
    f"{_STATE}.SaveCheckpoint": Rule(Right.WEIGHTS_WRITE, "model"),
    f"{_STATE}.LoadCheckpoint": Rule(Right.WEIGHTS_WRITE, "model"),
    f"{_STATE}.ListCheckpoints": Rule(Right.WEIGHTS_READ, "model"),
    f"{_STATE}.DeleteCheckpoint": Rule(Right.WEIGHTS_WRITE, "model"),
    f"{_OPEN_INFERENCE}.ServerLive": _ANYBODY,
    f"{_OPEN_INFERENCE}.ServerReady": _ANYBODY,
    f"{_OPEN_INFERENCE}.ModelReady": Rule(None, "name"),
    f"{_OPEN_INFERENCE}.ServerMetadata": _ANY_TOKEN,
    f"{_OPEN_INFERENCE}.ModelMetadata": Rule(None, "name"),
    f"{_OPEN_INFERENCE}.ModelInfer": Rule(Right.FORWARD, "model_name", gradient=Right.GRADIENT),
    f"{_OPEN_INFERENCE}.ModelStreamInfer": Rule(Right.FORWARD, "model_name", gradient=Right.GRADIENT),
    f"{_OPEN_INFERENCE}.ModelConfig": Rule(None, "name"),
    # Without a name, and of the index, the reply leaves out the models that the token is not for.
    f"{_OPEN_INFERENCE}.ModelStatistics": Rule(None, "name"),
    f"{_OPEN_INFERENCE}.RepositoryIndex": _ANY_TOKEN,
    f"{_OPEN_INFERENCE}.RepositoryModelLoad": Rule(Right.WEIGHTS_WRITE, "model_name"),
    f"{_OPEN_INFERENCE}.RepositoryModelUnload": Rule(Right.WEIGHTS_WRITE, "model_name"),
    # Probes and load balancers have no token.
    f"{_HEALTH}.Check": _ANYBODY,
    f"{_HEALTH}.List": _ANYBODY,
    f"{_HEALTH}.Watch": _ANYBODY,
    "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo": _ANY_TOKEN,
}
"""The rule of each method, by its full name."""


def rule_of(method: str) -> Rule:
    """The rule of a method.

    Raises:
        LookupError: It has none, so it must not be served.
    """
    if method not in RULES:
        raise LookupError(f"{method} must not be served: no rule says who may call it")
    return RULES[method]

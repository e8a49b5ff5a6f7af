"""The model that a call names: NAME, or NAME.gradient, at a version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gradserve_server.errors import InvalidArgument, NotFound, ServiceError, Unavailable
from gradserve_server.gradient_names import SUFFIX, split
from gradserve_server.hosted import AnyModel, HostedModel
from gradserve_server.open_inference.requests import version_of
from gradserve_server.registry import Registry

_GRADIENT: Final = "Gradient"
"""What a model's operations hold if it has gradients."""


class Served(NamedTuple):
    """A model that can be asked.

    Attributes:
        name: What the call says.
        hosted: The model.
        of_gradient: Whether its gradients are meant.
    """

    name: str
    hosted: HostedModel
    of_gradient: bool

    @property
    def operation(self) -> str:
        """What metrics call it."""
        return "gradient" if self.of_gradient else "forward"


def shown_as(model: AnyModel) -> Iterator[Served]:
    """The names under which a model can be asked; none while it cannot."""
    if isinstance(model, HostedModel) and model.failure is None:
        yield Served(model.name, model, of_gradient=False)
        if _GRADIENT in model.operations:
            yield Served(model.name + SUFFIX, model, of_gradient=True)


def served(registry: Registry, name: str, version: str) -> Served:
    """Find a model.

    Raises:
        InvalidArgument: If the version is no number.
        NotFound: If there is no such model, it is at another version, or it has no gradients.
        Unavailable: If it is there and not served.
    """
    model, of_gradient = split(name)
    try:
        hosted = registry.get(model)
        hosted.check_serving()
    except ServiceError as refusal:
        kind = NotFound if isinstance(refusal, InvalidArgument | NotFound) else Unavailable
        raise kind(refusal.message, field="name", reason=refusal.reason) from refusal
    wanted = version_of(version, "version")
    if wanted not in (None, hosted.version):
        message = f"{model} is at version {hosted.version}, not {wanted}"
        raise NotFound(message, field="version", reason="VERSION_MISMATCH")
    if of_gradient and _GRADIENT not in hosted.operations:
        raise NotFound(f"{model} has no gradients", field="name", reason="MODEL_NOT_FOUND")
    return Served(name, hosted, of_gradient)

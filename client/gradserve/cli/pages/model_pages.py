"""Pages about models."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.text import Text

from gradserve.cli.pages.page import plain_table, screen_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    import gradserve

__all__ = ["DeletedPage", "ModelPage", "ModelsPage"]

_MODELS: Final = ("name", "device", "dtype", "parameters", "trainable", "version", "state")
_PARAMETERS: Final = ("parameter", "shape", "dtype", "requires_grad")
_NUMBERS: Final = ("parameters", "trainable", "version")


@dataclass(frozen=True)
class ModelsPage:
    """All models, one in a line."""

    models: Sequence[gradserve.ModelInfo]

    def document(self) -> dict[str, Any]:
        """Return {"models": [...]}, each as `ModelPage.document` gives it."""
        return {"models": [ModelPage(info).document() for info in self.models]}

    def plain(self) -> str:
        """Return a table with tabs."""
        return plain_table(_MODELS, map(_row, self.models))

    def screen(self, _width: int) -> RenderableType:
        """Return a table."""
        return screen_table(_MODELS, map(_row, self.models), numbers=_NUMBERS) if self.models else Text("no models")


@dataclass(frozen=True)
class ModelPage:
    """One model with its parameters and layers."""

    info: gradserve.ModelInfo

    def document(self) -> dict[str, Any]:
        """Return every attribute of ModelInfo, the architecture as the `layers` that `create --layers` takes."""
        info = self.info
        layers = [{"type": layer.type, **_listed(layer.arguments)} for layer in info.architecture.layers]
        return {
            **self._facts(),
            "state_reason": info.state_reason,
            "supported_operations": list(info.supported_operations),
            "named_parameters": [asdict(parameter) for parameter in info.named_parameters],
            "layers": layers,
            "text": info.text,
        }

    def plain(self) -> str:
        """Return the facts, a table of the parameters, and torch's print of the model."""
        facts = "\n".join(f"{name}: {value}" for name, value in self._shown().items())
        return "\n\n".join([facts, plain_table(_PARAMETERS, self._parameters()), self.info.text])

    def screen(self, _width: int) -> RenderableType:
        """Return the same in tables."""
        facts = screen_table(("model", self.info.name), list(self._shown().items())[1:])
        return Group(facts, screen_table(_PARAMETERS, self._parameters()), Text(self.info.text))

    def _facts(self) -> dict[str, Any]:
        info = self.info
        return {
            "name": info.name,
            "device": info.device,
            "dtype": info.dtype,
            "total_parameters": info.total_parameters,
            "trainable_parameters": info.trainable_parameters,
            "version": info.version,
            "seed": info.seed,
            "create_time": info.create_time.isoformat(),
            "serving": info.serving,
            "unsaved": info.unsaved,
        }

    def _shown(self) -> dict[str, object]:
        """Return the facts in words; the state takes in its reason."""
        facts = {name: value for name, value in self._facts().items() if name != "serving" and value is not None}
        return {**facts, "unsaved": str(self.info.unsaved).lower(), "state": _state(self.info)}

    def _parameters(self) -> list[tuple[object, ...]]:
        return [
            (item.name, list(item.shape), item.dtype, str(item.requires_grad).lower())
            for item in self.info.named_parameters
        ]


@dataclass(frozen=True)
class DeletedPage:
    """A model that is gone, and the version that it had."""

    name: str
    version: int

    def document(self) -> dict[str, Any]:
        """Return both."""
        return {"deleted": self.name, "version": self.version}

    def plain(self) -> str:
        """Return the fact."""
        return f"deleted {self.name}, version {self.version}"

    def screen(self, _width: int) -> RenderableType:
        """Return the fact."""
        return Text(self.plain())


def _row(info: gradserve.ModelInfo) -> tuple[object, ...]:
    counts = (info.total_parameters, info.trainable_parameters)
    return (info.name, info.device, info.dtype, *counts, info.version, _state(info))


def _state(info: gradserve.ModelInfo) -> str:
    return "serving" if info.serving else f"not serving: {info.state_reason}"


def _listed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple | list) else value for name, value in arguments.items()}

"""The page about a server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group

from gradserve.cli.pages.page import plain_table, screen_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    import gradserve

__all__ = ["ServerPage"]

_DEVICES: Final = ("device", "description", "memory_bytes")


@dataclass(frozen=True)
class ServerPage:
    """A server: its versions, devices and limits, and the layers and losses that it knows."""

    info: gradserve.ServerInfo

    def document(self) -> dict[str, Any]:
        """Return every attribute of ServerInfo."""
        return asdict(self.info)

    def plain(self) -> str:
        """Return the facts and a table of the devices."""
        facts = "\n".join(f"{name}: {value}" for name, value in self._facts().items())
        return f"{facts}\n\n{plain_table(_DEVICES, self._devices())}"

    def screen(self, _width: int) -> RenderableType:
        """Return the same in tables."""
        facts = screen_table(("gradserve", self.info.version), list(self._facts().items())[1:])
        return Group(facts, screen_table(_DEVICES, self._devices(), numbers=("memory_bytes",)))

    def _facts(self) -> dict[str, object]:
        info = self.info
        return {
            "version": info.version,
            "torch_version": info.torch_version,
            "num_threads": info.num_threads,
            "metrics_address": info.metrics_address or "none",
            **asdict(info.limits),
            "layer_types": ", ".join(info.layer_types),
            "losses": ", ".join(info.losses),
        }

    def _devices(self) -> list[tuple[object, ...]]:
        return [(device.name, device.description, device.memory_bytes) for device in self.info.devices]

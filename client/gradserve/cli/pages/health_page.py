"""The page about a health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["HealthPage"]


@dataclass(frozen=True)
class HealthPage:
    """The health of a model, or without a name that of the server.

    Attributes:
        name: The model's name; None for the server.
        status: The name of a ServingStatus of grpc.health.v1.
    """

    name: str | None
    status: str

    def document(self) -> dict[str, Any]:
        """Return both."""
        return {"model": self.name, "status": self.status}

    def plain(self) -> str:
        """Return the status."""
        return self.status

    def screen(self, _width: int) -> RenderableType:
        """Return the status."""
        return Text(self.status)

"""How long the parts of an upload are waited for."""

from __future__ import annotations

from dataclasses import dataclass

from gradserve_server.errors import DeadlineExceeded

IDLE_SECONDS = 30.0
"""The longest time between two parts."""


@dataclass
class Pace:
    """How fast the bytes of one stream come. Who sends a byte now and then would otherwise hold memory for ever.

    A sender has the idle time to spare: by as much as its bytes come later than at the least rate, the next part is
    waited for less long. Only time in which the server waits counts.

    Attributes:
        bytes_per_second: The least rate.
        received_bytes: How many have come.
        waited_seconds: How long they were waited for.
    """

    bytes_per_second: int
    received_bytes: int = 0
    waited_seconds: float = 0.0

    @property
    def patience(self) -> float:
        """The seconds for which the next part is waited for."""
        late = self.waited_seconds - self.received_bytes / self.bytes_per_second
        return max(0.0, IDLE_SECONDS - max(0.0, late))

    def part_came(self, size: int, seconds: float) -> None:
        """Take note of a part of some bytes, which was waited for."""
        self.received_bytes += size
        self.waited_seconds += seconds

    def refusal(self) -> DeadlineExceeded:
        """What the sender is told when patience has come to an end."""
        if self.patience == IDLE_SECONDS:
            return DeadlineExceeded(f"the next part did not come within {IDLE_SECONDS:g} seconds")
        message = f"{self.received_bytes} bytes came in {self.waited_seconds:.0f} seconds, and no more in time"
        return DeadlineExceeded(f"{message}; {self.bytes_per_second} a second are expected", reason="STREAM_SLOW")

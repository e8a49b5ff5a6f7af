"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Machine:
    """A machine as a benchmark finds it.

    Attributes:
        system: Its processor's kind, its system and its Python.
        cores: How many of them may be used.
        load_before: The load average of the minute before: much above 0, and the figures say little.
        grpcio: gRPC's version.
        torch: Torch's version.
    """

    system: str
    cores: int
    load_before: float
    grpcio: str
    torch: str

    @staticmethod
    def here() -> Machine:
        """This one, now."""
        return Machine(
            system=f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
            cores=len(os.sched_getaffinity(0)),
            load_before=os.getloadavg()[0],
            grpcio=version("grpcio"),
            torch=version("torch"),
        )

    def __str__(self) -> str:
        versions = f"grpcio {self.grpcio}, torch {self.torch}"
        return f"{self.system}, {versions}, {self.cores} cores, load {self.load_before:.1f} before"

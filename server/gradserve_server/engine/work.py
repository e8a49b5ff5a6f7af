"""One request on its way to the device: checked, and ready to be computed alone or together with others."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

CallT = TypeVar("CallT")


@dataclass(slots=True, eq=False)
class Work(Generic[CallT]):
    """A request that nothing but its values, or torch itself, can still refuse.

    Works of one Model and one operation whose keys are equal can be computed in one batch, on any thread. A work
    whose key is None is computed alone, on its device's thread, as it uses what there is only one of: the module's
    training mode, the random generators, torch's determinism flag.

    Attributes:
        call: The request.
        key: What it shares with those that it can be computed with; None if there can be none.
        rows: The product of the input's dimensions but the last.
        cost: About how many multiply-adds it takes.
    """

    call: CallT
    key: Hashable | None
    rows: int
    cost: int

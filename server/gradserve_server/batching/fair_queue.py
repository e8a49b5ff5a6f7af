"""Requests that wait: a line for each caller, the lines taking turns, all of them together bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What can wait."""

    @property
    def caller(self) -> str:
        """Whose line it stands in."""

    @property
    def key(self) -> Hashable | None:
        """Equal for those that can be taken together; None for one that goes alone."""

    @property
    def arrived(self) -> float:
        """When it came."""

    @property
    def rows(self) -> int:
        """What it adds to a batch."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def cost(self) -> int:
        """The work that it is."""


ItemT = TypeVar("ItemT", bound=Waiting)


@dataclass(slots=True)
class _Line(Generic[ItemT]):
    """One caller's requests, the oldest first, and what they come to."""

    items: OrderedDict[ItemT, None] = field(default_factory=OrderedDict)
    rows: int = 0
    size: int = 0
    cost: int = 0

    def add(self, item: ItemT) -> None:
        self.items[item] = None
        self.rows += item.rows
        self.size += item.size
        self.cost += item.cost

    def remove(self, item: ItemT) -> None:
        del self.items[item]
        self.rows -= item.rows
        self.size -= item.size
        self.cost -= item.cost

    @property
    def oldest(self) -> ItemT:
        return next(iter(self.items))

    @property
    def newest(self) -> ItemT:
        return next(reversed(self.items))


class FairQueue(Generic[ItemT]):
    """A bounded queue in which nobody waits longer because somebody else asks for much.

    Callers are served in turn, one request each (round robin; as the start-time fair queueing of equal weights). When
    it is full, whoever holds more than an equal share of it gives way to whoever does not.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._lines: OrderedDict[str, _Line[ItemT]] = OrderedDict()
        self.rows = 0
        self.size = 0
        self.cost = 0
        self._count = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def __contains__(self, item: ItemT) -> bool:
        """Whether it still waits."""
        line = self._lines.get(item.caller)
        return line is not None and item in line.items

    def offer(self, item: ItemT) -> list[ItemT]:
        """Let one wait, if there is room, or if others hold more than their share.

        Returns:
            Those that must go: none; or the newest of the longest lines; or the one that was offered. A single item
            larger than all the room is let in where nobody else waits.
        """
        if self._fits(item) or not self._count:
            self._add(item)
            return []
        if not self._is_within_share(item):
            return [item]
        gone = []
        while not self._fits(item) and self._count:
            longest = max(self._lines.values(), key=self._fullness)
            gone.append(longest.newest)
            self.discard(longest.newest)
        self._add(item)
        return gone

    def discard(self, item: ItemT) -> bool:
        """Take one out of its line, wherever it stands; False if it does not wait any more."""
        if item not in self:
            return False
        self._remove(self._lines[item.caller], item)
        return True

    def take(self, max_rows: int) -> list[ItemT]:
        """Take out the one whose turn it is, and those behind it, in turn, that can go with it.

        Args:
            max_rows: How many rows they may have together; the first may have more.
        """
        first = self._take_from(next(iter(self._lines)))
        taken, rows = [first], first.rows
        turns = deque(self._lines if first.key is not None else ())
        while turns:
            caller = turns.popleft()
            candidate = self._lines[caller].oldest
            if candidate.key == first.key and rows + candidate.rows <= max_rows:
                taken.append(self._take_from(caller))
                rows += candidate.rows
                if caller in self._lines:
                    turns.append(caller)
        return taken

    def cost_before(self, caller: str, cost: int) -> int:
        """The work that is done before that of a newcomer, who stands behind his own and takes turns with others."""
        own = self._lines[caller].cost if caller in self._lines else 0
        others = (line.cost for name, line in self._lines.items() if name != caller)
        return own + sum(min(other, own + cost) for other in others)

    def oldest_arrival(self) -> float:
        """When the one came that has waited longest; there must be one."""
        return min(line.oldest.arrived for line in self._lines.values())

    def _fits(self, item: ItemT) -> bool:
        return self.rows + item.rows <= self._max_rows and self.size + item.size <= self._max_bytes

    def _is_within_share(self, item: ItemT) -> bool:
        line = self._lines.get(item.caller, _Line())
        callers = len(self._lines) + (item.caller not in self._lines)
        return (line.rows + item.rows) * callers <= self._max_rows and (
            line.size + item.size
        ) * callers <= self._max_bytes

    def _fullness(self, line: _Line[ItemT]) -> float:
        return max(line.rows / self._max_rows, line.size / self._max_bytes)

    def _add(self, item: ItemT) -> None:
        self._lines.setdefault(item.caller, _Line()).add(item)
        self._count += 1
        self.rows += item.rows
        self.size += item.size
        self.cost += item.cost

    def _take_from(self, caller: str) -> ItemT:
        line = self._lines[caller]
        item = line.oldest
        self._lines.move_to_end(caller)
        self._remove(line, item)
        return item

    def _remove(self, line: _Line[ItemT], item: ItemT) -> None:
        line.remove(item)
        if not line.items:
            del self._lines[item.caller]
        self._count -= 1
        self.rows -= item.rows
        self.size -= item.size
        self.cost -= item.cost

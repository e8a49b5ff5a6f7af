"""A disk that may lose whatever was not made durable, in any combination and order that POSIX allows."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(eq=False)
class File:
    """A file's bytes.

    Attributes:
        content: What a program reads.
        durable: What a power loss cannot take.
        pending: The writes between the two: where, and what.
        spoiled: Whether making it durable failed once, after which nobody knows what that will do.
    """

    content: bytes = b""
    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    spoiled: bool = False

    def write(self, data: bytes) -> None:
        self.pending.append((len(self.content), data))
        self.content += data

    def sync(self) -> None:
        self.durable = self.content
        self.pending.clear()

    def after_power_loss(self, rng: random.Random) -> File:
        """Of each write all, nothing, a beginning, or only the room for it."""
        content = bytearray(self.durable)
        for offset, data in self.pending:
            arrived = rng.choice((data, b"", data[: rng.randrange(len(data) + 1)], bytes(len(data))))
            content.extend(bytes(max(0, offset + len(arrived) - len(content))))
            content[offset : offset + len(arrived)] = arrived
        return File(bytes(content), bytes(content))


@dataclass(frozen=True)
class Change:
    """One change of a folder's names, atomic: a name goes, a name comes, or both. Each stands for the node."""

    node: File | Folder
    gone: str = ""
    come: str = ""

    def apply(self, names: dict[str, File | Folder]) -> None:
        if names.get(self.gone) is self.node:
            del names[self.gone]
        if self.come:
            names[self.come] = self.node


@dataclass(eq=False)
class Folder:
    """A folder's names: as a program sees them, as they are durable, and the changes between the two."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        self.pending.append(change)
        change.apply(self.names)

    def sync(self) -> None:
        self.durable = dict(self.names)
        self.pending.clear()

    def after_power_loss(self, rng: random.Random) -> Folder:
        """Any of the changes, in their order."""
        names = dict(self.durable)
        for change in self.pending:
            if rng.random() < 0.5:
                change.apply(names)
        survivors = {name: node.after_power_loss(rng) for name, node in names.items()}
        return Folder(dict(survivors), dict(survivors))

    def tree(self) -> dict[str, set[str]]:
        """The names in each folder of this one; a file in this one counts as an empty folder."""
        return {name: set(node.names) if isinstance(node, Folder) else set() for name, node in self.names.items()}

"""A name that is taken, and who may do what with its model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gradserve_server.answers import Answers
from gradserve_server.batching.batcher import Batcher
from gradserve_server.hosted import AnyModel, DamagedModel, HostedModel


@dataclass
class Slot:
    """A taken name.

    Attributes:
        hosted: Its model; None while that is being made.
        damaged: What is there instead if what was kept of it cannot be read.
        last_version: The highest version that anybody was told before the server started.
        answers: What loads with an id were told.
        writer: Held by who changes the model.
        upload: Held by who sends weights for it, so that there is one copy of them at a time.
        batcher: Where its requests wait; None before the first.
    """

    hosted: HostedModel | None = None
    damaged: DamagedModel | None = None
    last_version: int = 0
    answers: Answers = field(default_factory=Answers)
    writer: asyncio.Lock = field(default_factory=asyncio.Lock)
    upload: asyncio.Lock = field(default_factory=asyncio.Lock)
    batcher: Batcher | None = None

    def current(self) -> HostedModel:
        """The model, of a slot that has one: it keeps it, also when its name is given up."""
        if self.hosted is None:
            raise LookupError("there is no model in this slot yet")
        return self.hosted

    @property
    def model(self) -> AnyModel | None:
        """What callers are told of."""
        return self.hosted or self.damaged

    def next_version(self, old: HostedModel) -> int:
        """The version of the next weights."""
        return max(old.version, self.last_version) + 1

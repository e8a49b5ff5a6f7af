"""A store's life on a disk that loses power: random changes, cut short at random, and what must be seen afterwards."""

from __future__ import annotations

import errno
import random
from contextlib import suppress

from gradserve_server.checkpoints.manifest import Manifest
from gradserve_server.checkpoints.names import MANIFEST
from gradserve_server.checkpoints.store import Store
from gradserve_server.errors import NotFound, ResourceExhausted, ServiceError, Unavailable
from tests.server.checkpoints.model_disk import Folder
from tests.server.checkpoints.model_files import Failure, Killed, ModelFiles
from tests.server.checkpoints.random_changes import RandomChanges

NAMES = ("a", "b")
_REFUSALS = {errno.ENOSPC: ResourceExhausted, errno.EIO: Unavailable}


class BrokenPromiseError(AssertionError):
    """The store has broken a promise."""


class History:
    """One disk from its first use on.

    Attributes:
        crashes: How many crash states the store was opened on.
        refusals: How many changes the disk refused.
        sync_sites: The places in the store's code that asked for an fsync.
    """

    def __init__(self, seed: int, omitted: str = "") -> None:
        self.crashes = 0
        self.refusals = 0
        self.sync_sites: set[str] = set()
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._omitted = omitted
        self._changes = RandomChanges(self._rng)
        self._disk = Folder()
        # What may be seen of each model: one state, or more while it is not known how a change ended.
        self._allowed: dict[str, list[Manifest | None]] = {name: [None] for name in NAMES}

    def live_until_crash(self) -> None:
        """Open the store, change what it keeps until a kill, perhaps lose power, and look at what is left."""
        files, store = self._opened()
        files.kill(self._rng.randint(1, 45))
        with suppress(Killed):
            while True:
                self._change(files, store)
        self._crash()
        while self._rng.random() < 0.2:
            # The next start is cut short too.
            files = self._files()
            files.kill(self._rng.randint(1, 12))
            with suppress(Killed):
                Store(files)
            self._crash()
        self._opened()

    def _crash(self) -> None:
        self.crashes += 1
        if self._rng.random() < 0.75:
            self._disk = self._disk.after_power_loss(self._rng)

    def _files(self) -> ModelFiles:
        files = ModelFiles(self._disk, self._rng, self._omitted)
        files.sync_sites = self.sync_sites
        return files

    def _opened(self) -> tuple[ModelFiles, Store]:
        """Open the store and hold it against its promises. What is seen of it must stay from then on."""
        files = self._files()
        store = Store(files)
        for name in NAMES:
            shown = _kept(store, name)
            if shown not in self._allowed[name]:
                raise BrokenPromiseError(f"{name} is {shown}, and may be {self._allowed[name]}")
            self._allowed[name] = [shown]
            self._check_weights(store, name, shown)
            self._check_leftovers(name, shown)
        if extra := set(self._disk.names).difference(store.names()):
            raise BrokenPromiseError(f"left over: {extra}")
        return files, store

    def _change(self, files: ModelFiles, store: Store) -> None:
        """Change one model. Now and then a call fails, or several do."""
        name = self._rng.choice(NAMES)
        before, failure = self._allowed[name], self._failure()
        files.fail(failure)
        try:
            candidate = self._changes.next(store, name, _kept(store, name))
            if candidate is None:
                store.discard(name)
            else:
                self._allowed[name] = [*before, candidate]
                store.commit(name, candidate)
                self._allowed[name] = [candidate]
        except ServiceError as refusal:
            self._check_refusal(refusal, failure)
            if failure is not None and failure.count == 1:
                self._allowed[name] = before
        else:
            if failure is None and candidate is not None:
                self._check_leftovers(name, candidate)
        files.fail(None)

    def _failure(self) -> Failure | None:
        if self._rng.random() < 0.7:
            return None
        error = self._rng.choice(tuple(_REFUSALS))
        return Failure(self._rng.randint(1, 20), self._rng.choice((1, 1, 1, 2, 3, 1000)), error)

    def _check_refusal(self, refusal: ServiceError, failure: Failure | None) -> None:
        self.refusals += 1
        if failure is None or type(refusal) is not _REFUSALS[failure.error]:
            raise BrokenPromiseError(f"{failure} led to {refusal!r}") from refusal

    def _check_weights(self, store: Store, name: str, shown: Manifest | None) -> None:
        if shown is None:
            return
        live = () if shown.model is None else (shown.model,)
        for holder in (*live, *shown.checkpoints):
            with store.reading(name, holder.weights) as chunks:
                if b"".join(chunks) != self._changes.contents[holder.weights.sha256]:
                    raise BrokenPromiseError(f"{name} has other weights than were written")

    def _check_leftovers(self, name: str, shown: Manifest | None) -> None:
        expected = None if shown is None else {MANIFEST, *shown.files}
        if (found := self._disk.tree().get(name)) != expected:
            raise BrokenPromiseError(f"{name} consists of {found}, not of {expected}")


def _kept(store: Store, name: str) -> Manifest | None:
    try:
        return store.manifest(name)
    except NotFound:
        return None

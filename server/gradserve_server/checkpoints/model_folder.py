"""The folder of one model: how it changes, so that it never holds anything but the old state or the new one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from gradserve_server.checkpoints.damage import Damage
from gradserve_server.checkpoints.draft import Draft
from gradserve_server.checkpoints.failures import told_as_refusals
from gradserve_server.checkpoints.files import ROOT, Files
from gradserve_server.checkpoints.leftovers import remove, sweep, sweep_staging
from gradserve_server.checkpoints.manifest import Manifest, WeightsFile
from gradserve_server.checkpoints.manifest_text import render_manifest
from gradserve_server.checkpoints.names import MANIFEST, new_manifest, new_staging, new_weights


class ModelFolder:
    """One model's files and the manifest that is committed. Writes come one after the other.

    A new model's folder is filled under another name and then renamed. In a folder in place, files of weights are
    added, and then the manifest is replaced by a rename. Only that rename counts.

    Attributes:
        manifest: What is committed; None if nothing is, or if it is damaged.
        damage: Why the manifest cannot be read, and what is left; None if it can be read.
    """

    def __init__(
        self, files: Files, name: str, *, manifest: Manifest | None = None, damage: Damage | None = None
    ) -> None:
        self.manifest = manifest
        self.damage = damage
        self._files = files
        self._name = name
        # None where a failure has left that open.
        self._in_place: bool | None = manifest is not None or damage is not None
        self._staging = ""
        self._fresh: list[str] = []
        self._drafts: set[str] = set()

    def write_weights(self, version: int, chunks: Iterable[bytes | memoryview]) -> WeightsFile:
        """As `Store.write_weights`."""
        size, digest = 0, hashlib.sha256()
        with self._writing() as folder:
            file = new_weights(version)
            self._fresh.append(file)
            with self._files.create(folder, file) as sink:
                for chunk in chunks:
                    sink.write(chunk)
                    digest.update(chunk)
                    size += memoryview(chunk).nbytes
                sink.sync()
        return WeightsFile(file=file, size_bytes=size, sha256=digest.digest())

    def draft(self) -> Draft:
        """As `Store.draft`."""
        with told_as_refusals(f"keep {self._name}"):
            return Draft(self._files, self._name, self._drafts)

    def adopt(self, version: int, draft: Draft) -> WeightsFile:
        """As `Store.adopt`."""
        with self._writing():
            file = new_weights(version)
            self._fresh.append(file)
            return draft.rename(file)

    def commit(self, manifest: Manifest) -> None:
        """As `Store.commit`."""
        if self.damage is not None:
            manifest = replace(manifest, last_version=max(manifest.last_version, self.damage.last_version))
        with self._writing() as folder:
            if missing := manifest.files.difference(self._files.names(folder)):
                raise ValueError(f"the manifest of {self._name} names files that are not there: {sorted(missing)}")
            if self._staging:
                self._place(manifest)
            else:
                self._replace(manifest)
        self._fresh, self.manifest, self.damage = [], manifest, None
        sweep(self._files, self._name, manifest.files | self._drafts)

    def discard(self) -> None:
        """As `Store.discard`."""
        fresh, staging = self._forget()
        if staging:
            sweep_staging(self._files, staging)
        else:
            remove(self._files, self._name, fresh)

    @contextmanager
    def _writing(self) -> Iterator[str]:
        """The folder to write to; nothing uncommitted is left behind by a write that fails."""
        try:
            with told_as_refusals(f"keep {self._name}"):
                if self._in_place is None:
                    # The rename that could not be undone may yet be undone by a power loss.
                    self._files.sync_folder(ROOT)
                    self._in_place = self._name in self._files.folders()
                if not self._in_place and not self._staging:
                    self._staging = new_staging(self._name)
                    self._files.make_folder(self._staging)
                yield self._staging or self._name
        except BaseException:
            self.discard()
            raise

    def _forget(self) -> tuple[list[str], str]:
        fresh, staging = self._fresh, self._staging
        self._fresh, self._staging = [], ""
        return fresh, staging

    def _place(self, manifest: Manifest) -> None:
        staging = self._staging
        self._write_manifest(staging, MANIFEST, manifest)
        self._files.sync_folder(staging)
        try:
            self._files.rename(ROOT, staging, self._name)
            self._files.sync_folder(ROOT)
        except OSError:
            self._forget()
            self._withdraw(staging)
            raise
        self._staging, self._in_place = "", True

    def _withdraw(self, staging: str) -> None:
        """Undo the rename that put the folder in place, if it did, and that may or may not be durable."""
        try:
            with suppress(FileNotFoundError):
                self._files.rename(ROOT, self._name, staging)
        except OSError:
            self._in_place = None
            return
        with suppress(OSError):
            # Before this is durable, a power loss could put the folder in place without its files.
            self._files.sync_folder(ROOT)
            sweep_staging(self._files, staging)

    def _replace(self, manifest: Manifest) -> None:
        written = new_manifest()
        if self._fresh:
            # Else the manifest could outlive the names of the files that it names.
            self._files.sync_folder(self._name)
        self._fresh.append(written)
        self._write_manifest(self._name, written, manifest)
        try:
            self._files.rename(self._name, written, MANIFEST)
            self._files.sync_folder(self._name)
        except OSError:
            fresh, _ = self._forget()
            self._put_back(fresh)
            raise

    def _put_back(self, fresh: list[str]) -> None:
        """Undo the rename that replaced the manifest, if it did; until that is durable, keep the files of both."""
        if self.manifest is None:
            return
        with suppress(OSError):
            written = new_manifest()
            self._write_manifest(self._name, written, self.manifest)
            self._files.rename(self._name, written, MANIFEST)
            self._files.sync_folder(self._name)
            remove(self._files, self._name, fresh)

    def _write_manifest(self, folder: str, file: str, manifest: Manifest) -> None:
        with self._files.create(folder, file) as sink:
            sink.write(render_manifest(manifest))
            sink.sync()

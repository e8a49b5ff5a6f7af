"""The checkpoint store: what a server keeps of its models, so that it survives the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gradserve_server.checkpoints.damage import Damage, unused_version
from gradserve_server.checkpoints.disk_files import DiskFiles
from gradserve_server.checkpoints.draft import Draft
from gradserve_server.checkpoints.failures import explanation, is_damage, told_as_refusals
from gradserve_server.checkpoints.files import ROOT, Files
from gradserve_server.checkpoints.leftovers import sweep, sweep_staging
from gradserve_server.checkpoints.manifest import Checkpoint, Manifest, WeightsFile
from gradserve_server.checkpoints.manifest_text import parse_manifest
from gradserve_server.checkpoints.model_folder import ModelFolder
from gradserve_server.checkpoints.names import MANIFEST, NAME, check_name, is_disposable, is_staging
from gradserve_server.checkpoints.weights_file import verified
from gradserve_server.errors import DataLoss, NotFound, ServiceError


def open_store(path: Path) -> Store:
    """Open the store in a folder, which is made if it is not there, and lock it for this process.

    Raises:
        FailedPrecondition: If another server uses it.
        ResourceExhausted: If the disk is full.
        Unavailable: If the folder cannot be used; says why.
    """
    with told_as_refusals(f"use {path}"):
        files = DiskFiles.locked(path)
    try:
        return Store(files)
    except BaseException:
        files.close()
        raise


class Store:
    """A manifest for each name, and the files of weights that it names. What is committed is on disk.

    All methods block; they may be called from any thread. Writes under one name come one after the other, which the
    caller sees to: `write_weights` or `adopt` as often as needed, then `commit`, or `discard` to give up. Names are
    checked here once more, since they become paths.
    """

    def __init__(self, files: Files) -> None:
        """Read every manifest, and sweep away what interrupted writes have left.

        Raises:
            Unavailable: If the folder cannot be read. A damaged model does not prevent opening the store.
        """
        self._files = files
        self._folders: dict[str, ModelFolder] = {}
        with told_as_refusals("open the store"):
            # A kill may have left renames that are not durable: from here on they are seen, and swept after.
            files.sync_folder(ROOT)
            for name in files.folders():
                if is_staging(name):
                    sweep_staging(files, name)
                elif NAME.fullmatch(name) and (folder := _read(files, name)) is not None:
                    self._folders[name] = folder

    def __enter__(self) -> Self:
        """The store itself, to be closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the folder."""
        self._files.close()

    def names(self) -> list[str]:
        """Every name that something is kept of, sorted: models, deleted models, models whose manifest is damaged."""
        return sorted(name for name, folder in list(self._folders.items()) if folder.manifest or folder.damage)

    def manifest(self, name: str) -> Manifest:
        """What was last committed under a name.

        Raises:
            NotFound: If nothing ever was.
            DataLoss: If it cannot be read any more; says why.
        """
        folder = self._folders.get(name)
        if folder is not None and folder.damage is not None:
            raise DataLoss(f"what is kept of {name} is damaged: {folder.damage.reason}", reason="MANIFEST_DAMAGED")
        if folder is None or folder.manifest is None:
            check_name(name, "name")
            raise NotFound(f"nothing is kept of {name!r}", reason="MODEL_NOT_FOUND")
        return folder.manifest

    def write_weights(self, name: str, version: int, chunks: Iterable[bytes | memoryview]) -> WeightsFile:
        """Write a safetensors file, durably. It counts once a manifest that names it is committed.

        Args:
            name: The model's.
            version: The version of the weights: it goes into the file's name, for people.
            chunks: The file's bytes, of which one chunk is held at a time. If they raise, so does this.

        Raises:
            InvalidArgument: If no model can have that name.
            ResourceExhausted: If the disk is full. Everything uncommitted of that model is gone, as after `discard`.
            Unavailable: If the disk fails in another way; likewise.
        """
        return self._folder(name).write_weights(version, chunks)

    def draft(self, name: str) -> Draft:
        """A place for weights of a model of which something is kept, while others change it; to be discarded at last.

        Raises:
            InvalidArgument: If no model can have that name.
            Unavailable: If no name can be drawn for it.
        """
        return self._folder(name).draft()

    def adopt(self, name: str, version: int, draft: Draft) -> WeightsFile:
        """Take a finished draft as `write_weights` would have written it.

        Raises:
            ServiceError: As `write_weights`.
        """
        return self._folder(name).adopt(version, draft)

    def commit(self, name: str, manifest: Manifest) -> None:
        """Put a manifest in the place of the last one, durably, and delete the files that only that one named.

        A damaged manifest is replaced too, with the loss of what it named: so such a model is deleted. The new one's
        last version is then at least one that nobody can have been told.

        Raises:
            InvalidArgument: If no model can have that name.
            ResourceExhausted: If the disk is full. The last manifest stands; everything uncommitted is gone.
            Unavailable: If the disk fails in another way; likewise.
            ValueError: If the manifest names a file of weights that is not there.
        """
        self._folder(name).commit(manifest)

    def discard(self, name: str) -> None:
        """Forget the weights that were written under a name since the last commit."""
        self._folder(name).discard()

    @contextmanager
    def reading(self, name: str, weights: WeightsFile) -> Iterator[Iterator[bytes]]:
        """Open a file of weights that a manifest names: inside the block, its bytes, which have been verified.

        Raises:
            DataLoss: If it is damaged or gone; names the newest checkpoint that is not.
            Unavailable: If it cannot be read now.
        """
        check_name(name, "name")
        with ExitStack() as stack:
            try:
                source = stack.enter_context(verified(self._files, name, weights))
            except DataLoss as damage:
                raise DataLoss(f"{damage.message}; {self._advice(name)}", reason=damage.reason) from damage
            yield source.chunks()

    def newest_intact(self, name: str) -> Checkpoint | None:
        """The newest checkpoint of a model whose weights are undamaged, if any; reads them.

        Raises:
            NotFound: If nothing is kept under that name.
            DataLoss: If its manifest is damaged.
        """
        for checkpoint in reversed(self.manifest(name).checkpoints):
            with suppress(ServiceError), verified(self._files, name, checkpoint.weights):
                return checkpoint
        return None

    def _advice(self, name: str) -> str:
        checkpoint = self.newest_intact(name)
        return f"the newest undamaged checkpoint is {checkpoint.name!r}" if checkpoint else "no checkpoint is undamaged"

    def _folder(self, name: str) -> ModelFolder:
        check_name(name, "name")
        return self._folders.setdefault(name, ModelFolder(self._files, name))


def _read(files: Files, name: str) -> ModelFolder | None:
    """What a folder holds, swept; None if it is none of the store's."""
    names, text = [], b""
    try:
        files.sync_folder(name)
        names = files.names(name)
        if MANIFEST not in names and not any(map(is_disposable, names)):
            return None
        with files.open(name, MANIFEST) as source:
            text = b"".join(source.chunks())
        manifest = parse_manifest(text)
    except DataLoss as loss:
        return ModelFolder(files, name, damage=Damage(loss.message, unused_version(names, text)))
    except OSError as error:
        if not is_damage(error):
            raise
        reason = f"{MANIFEST}: {explanation(error)}"
        return ModelFolder(files, name, damage=Damage(reason, unused_version(names, text)))
    sweep(files, name, manifest.files)
    return ModelFolder(files, name, manifest=manifest)

# Written by client/generate.py from gradserve/_async/weights.py: edit that, and run `make sync`.
"""The weights of one model: moved over the wire, and kept on the server as checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from gradserve import _original_names, _replies, _safetensors
from gradserve import _state_requests as requests
from gradserve._errors import InternalError
from gradserve._options import UNSET, Timeout
from gradserve._progress import Progress, silent
from gradserve._reception import Buffer, File
from gradserve._results import Checkpoint, LoadedStateDict, StateDict
from gradserve._state_sources import StateDictLike, source_of
from gradserve._sync.handle import Handle
from gradserve._sync.transfers import Transfers
from gradserve._threads.disk import entered
from gradserve._whole_file import whole_file
from gradserve.v1 import state_pb2


class Weights(Handle):
    """What a handle of a model does with all its weights at once; `Model` adds the rest.

    In the methods that move weights `timeout=` is for each time in which nothing moves: a transfer may last as long as
    it goes on.
    """

    def state_dict(
        self,
        keys: str | Sequence[str] = (),
        *,
        original_names: bool = False,
        if_version: int | None = None,
        timeout: Timeout = UNSET,
    ) -> StateDict:
        """Return the model's parameters and buffers as numpy arrays, by torch's names.

        Args:
            keys: Globs over the names, such as "layers.0.*"; empty for all.
            original_names: Whether to use the names that the weights had before `gradserve.deploy`.
            if_version: The version that the model must be at; None for any.
            timeout: Seconds in which nothing moves; default: the client's.

        Raises:
            InvalidArgumentError: A glob matches nothing.
            FailedPreconditionError: The model is at another version than `if_version`, or has no original names.
            DataLossError: The weights were damaged on their way.
        """
        request = requests.get(self.name, keys, if_version)
        return self._fetched(request, original_names=original_names, progress=silent, timeout=timeout)

    def save_state_dict(
        self,
        path: str | os.PathLike[str],
        keys: str | Sequence[str] = (),
        *,
        original_names: bool = False,
        if_version: int | None = None,
        progress: Progress = silent,
        timeout: Timeout = UNSET,
    ) -> int:
        """Write the model's parameters and buffers into a safetensors file here, and return their version.

        The file takes the path's place once it is whole and on disk. Without `original_names` the weights are never in
        memory as a whole.

        Args:
            path: Where to; overwritten.
            keys: As in `state_dict`.
            original_names: As in `state_dict`.
            if_version: As in `state_dict`.
            progress: Called with the bytes that have come and the bytes that will come in all.
            timeout: As in `state_dict`.

        Raises:
            Error: As in `state_dict`.
            OSError: The file cannot be written.
        """
        request = requests.get(self.name, keys, if_version)
        with entered(whole_file(path)) as stream:
            if not original_names:
                received = Transfers(self._caller, timeout).receive(request, File(stream), progress)
                return received.version
            state = self._fetched(request, original_names=True, progress=progress, timeout=timeout)
            stream.writelines(_safetensors.pack(state).pieces())
            return state.version

    def load_state_dict(  # noqa: PLR0913 - as many as the request has fields
        self,
        state_dict: StateDictLike,
        *,
        strict: bool = True,
        keys: str | Sequence[str] = (),
        original_names: bool = False,
        if_version: int | None = None,
        durable: bool = True,
        cast: bool = False,
        request_id: str | None = None,
        progress: Progress = silent,
        timeout: Timeout = UNSET,
    ) -> LoadedStateDict:
        """Replace the model's weights, all at once. Calls in flight finish on those that they started with.

        Args:
            state_dict: Arrays or torch tensors by name, such as `module.state_dict()`, or the path of a safetensors
                file, which is sent as it is.
            strict: Whether the names must be exactly the model's.
            keys: Globs over the names: load these and leave the others; empty for all.
            original_names: Whether the names are those that the weights had before `gradserve.deploy`.
            if_version: The version that the model must be at; None for any.
            durable: Whether the weights are on the server's disk before this returns.
            cast: Whether to convert another floating dtype to the model's; otherwise it is refused.
            request_id: Makes it safe to call again after a failure: with the same id and weights the server answers
                what it has answered before. Default: one is drawn, for the attempts of this call.
            progress: Called with the bytes that have gone and the bytes that will go in all; by a `Client` on another
                thread.
            timeout: Seconds in which nothing moves; default: the client's.

        Raises:
            InvalidArgumentError: Names, shapes or dtypes are not the model's, or the file is not safetensors.
            AbortedError: The model is at another version than `if_version`.
            ResourceExhaustedError: It is too large, or the server's disk is full.
            OSError: The file cannot be read.
        """
        layers = self._original_names(timeout) if original_names else {}
        options = requests.LoadOptions(strict, keys, if_version, durable, cast, request_id)
        renamed = {original: layer for layer, original in layers.items()}
        with entered(source_of(state_dict, renamed)) as source:
            header = requests.load_header(self.name, options, source.total_bytes)
            size = self._caller.chunk_bytes(source.total_bytes, timeout)
            transfers = Transfers(self._caller, timeout)
            return _replies.loaded(transfers.send(lambda: requests.load(header, source.chunks(size)), progress))

    def save_checkpoint(
        self,
        checkpoint: str,
        *,
        metadata: Mapping[str, str] | None = None,
        if_version: int | None = None,
        timeout: Timeout = UNSET,
    ) -> Checkpoint:
        """Keep the model's weights on the server under a name, for ever and unchanged; on disk before this returns.

        Args:
            checkpoint: A name as a model's, and not taken.
            metadata: Notes to keep with it: at most 64 pairs of at most 1024 characters each.
            if_version: The version that the model must be at; None for any.
            timeout: Seconds; default: the client's.

        Raises:
            AlreadyExistsError: The name is taken.
            AbortedError: The model is at another version than `if_version`.
            ResourceExhaustedError: The server's disk is full.
        """
        request = requests.save_checkpoint(self.name, checkpoint, metadata, if_version)
        reply = self._caller.call(self._caller.connection.state.SaveCheckpoint, request, timeout)
        return _replies.checkpoint(reply.checkpoint)

    def load_checkpoint(self, checkpoint: str, *, if_version: int | None = None, timeout: Timeout = UNSET) -> int:
        """Make a checkpoint's weights the live ones, and return their new version.

        Args:
            checkpoint: Its name.
            if_version: The version that the model must be at; None for any.
            timeout: Seconds; default: the client's.

        Raises:
            NotFoundError: There is none of that name.
            FailedPreconditionError: It is of another architecture.
            AbortedError: The model is at another version than `if_version`.
            DataLossError: Its file is damaged; the live weights stay.
        """
        request = requests.load_checkpoint(self.name, checkpoint, if_version)
        reply = self._caller.call(self._caller.connection.state.LoadCheckpoint, request, timeout)
        return reply.version

    def list_checkpoints(self, *, timeout: Timeout = UNSET) -> list[Checkpoint]:
        """Return the model's checkpoints, the newest first. The timeout holds for each page of the list."""
        request = state_pb2.ListCheckpointsRequest(model=self.name)
        checkpoints: list[Checkpoint] = []
        while True:
            reply = self._caller.call(self._caller.connection.state.ListCheckpoints, request, timeout)
            checkpoints.extend(map(_replies.checkpoint, reply.checkpoints))
            if not reply.next_page_token:
                return checkpoints
            request.page_token = reply.next_page_token

    def delete_checkpoint(self, checkpoint: str, *, timeout: Timeout = UNSET) -> None:
        """Delete a checkpoint.

        Raises:
            NotFoundError: There is none of that name.
            FailedPreconditionError: The live weights are kept in it and nowhere else.
        """
        request = state_pb2.DeleteCheckpointRequest(model=self.name, checkpoint=checkpoint)
        self._caller.call(self._caller.connection.state.DeleteCheckpoint, request, timeout)

    def _fetched(
        self, request: state_pb2.GetStateDictRequest, *, original_names: bool, progress: Progress, timeout: Timeout
    ) -> StateDict:
        layers = self._original_names(timeout) if original_names else {}
        buffer = Buffer()
        received = Transfers(self._caller, timeout).receive(request, buffer, progress)
        try:
            state = _replies.state_dict(_safetensors.unpack(buffer.content), received.version)
        except _safetensors.FormatError as error:
            raise InternalError(f"the reply cannot be read: {error}", reason="MALFORMED_REPLY") from error
        return StateDict(_original_names.renamed(state, layers), state.version) if layers else state

    def _original_names(self, timeout: Timeout) -> dict[str, str]:
        return _original_names.from_checkpoints(self.list_checkpoints(timeout=timeout))

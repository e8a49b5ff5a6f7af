"""StateService: weights out of a model and into it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gradserve.v1 import state_pb2, state_pb2_grpc
from gradserve_server import snapshots, uploads
from gradserve_server.checkpoints.manifest import Checkpoint
from gradserve_server.engine.intake import LoadOptions
from gradserve_server.engine.state import CHUNK_BYTES, state_dict
from gradserve_server.errors import InvalidArgument
from gradserve_server.registry import Registry
from gradserve_server.rpc import Context
from gradserve_server.servicers.pace import Pace
from gradserve_server.servicers.paging import page_size
from gradserve_server.servicers.state_streams import LargeChunks, Parts, outgoing
from gradserve_server.uploads import Upload

_LONGEST_REQUEST_ID = 128
_MOST_NOTES = 64
_LONGEST_NOTE = 1024


class StateServicer(state_pb2_grpc.StateServiceServicer):
    """Moves bytes between streams and models."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        # Half of the largest message, as a chunk is not all of its message.
        self._chunk_bytes = min(CHUNK_BYTES, registry.limits.max_message_bytes // 2)
        self._large_chunks = LargeChunks()

    async def GetStateDict(  # noqa: N802 - the RPC's name
        self, request: state_pb2.GetStateDictRequest, context: Context
    ) -> AsyncIterator[state_pb2.GetStateDictResponse]:
        """Stream a model's state_dict."""
        hosted = self._registry.get(request.model, field_path="model")
        hosted.check_read(request.if_version if request.HasField("if_version") else None)
        hosted.check_serving()
        state = await hosted.device.run(state_dict, hosted.model, tuple(request.keys))
        header = state_pb2.StateDictHeader(version=hosted.version, total_bytes=state.total_bytes)
        yield state_pb2.GetStateDictResponse(header=header)
        async for part in outgoing(state, self._chunk_bytes, self._large_chunks):
            yield part

    async def LoadStateDict(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[state_pb2.LoadStateDictRequest], context: Context
    ) -> state_pb2.LoadStateDictResponse:
        """Replace a model's weights by the state_dict that a stream brings."""
        parts = Parts(requests, Pace(self._registry.limits.min_upload_bytes_per_second))
        header = await parts.header()
        async with uploads.uploading(self._registry, header.model, _upload(header)) as incoming:
            trailer = await parts.into(incoming)
            loaded = await incoming.load(trailer.sha256)
        return state_pb2.LoadStateDictResponse(
            version=loaded.version,
            missing_keys=loaded.missing_keys,
            unexpected_keys=loaded.unexpected_keys,
        )

    async def SaveCheckpoint(  # noqa: N802 - the RPC's name
        self, request: state_pb2.SaveCheckpointRequest, context: Context
    ) -> state_pb2.SaveCheckpointResponse:
        """Keep a model's weights under a name."""
        metadata = _metadata(request)
        if_version = request.if_version if request.HasField("if_version") else None
        checkpoint = await snapshots.save(self._registry, request.model, request.checkpoint, metadata, if_version)
        return state_pb2.SaveCheckpointResponse(checkpoint=self._describe(request.model, checkpoint))

    async def LoadCheckpoint(  # noqa: N802 - the RPC's name
        self, request: state_pb2.LoadCheckpointRequest, context: Context
    ) -> state_pb2.LoadCheckpointResponse:
        """Make the weights of a checkpoint the live ones."""
        if_version = request.if_version if request.HasField("if_version") else None
        hosted = await snapshots.load(self._registry, request.model, request.checkpoint, if_version)
        return state_pb2.LoadCheckpointResponse(version=hosted.version)

    async def ListCheckpoints(  # noqa: N802 - the RPC's name
        self, request: state_pb2.ListCheckpointsRequest, context: Context
    ) -> state_pb2.ListCheckpointsResponse:
        """List the checkpoints of a model, the newest first. A page's token is the last name on it."""
        count = page_size(request.page_size)
        found = snapshots.page(self._registry, request.model, request.page_token, count + 1)
        page = [self._describe(request.model, checkpoint) for checkpoint in found[:count]]
        next_page_token = page[-1].name if len(found) > count else ""
        return state_pb2.ListCheckpointsResponse(checkpoints=page, next_page_token=next_page_token)

    async def DeleteCheckpoint(  # noqa: N802 - the RPC's name
        self, request: state_pb2.DeleteCheckpointRequest, context: Context
    ) -> state_pb2.DeleteCheckpointResponse:
        """Delete a checkpoint of a model."""
        await snapshots.delete(self._registry, request.model, request.checkpoint)
        return state_pb2.DeleteCheckpointResponse()

    def _describe(self, model: str, checkpoint: Checkpoint) -> state_pb2.Checkpoint:
        live = self._registry.archive.manifest(model).model
        unsaved = self._registry.get(model, field_path="model").unsaved
        message = state_pb2.Checkpoint(
            name=checkpoint.name,
            version=checkpoint.version,
            size_bytes=checkpoint.weights.size_bytes,
            sha256=checkpoint.weights.sha256,
            metadata=checkpoint.metadata,
            automatic=checkpoint.automatic,
            live=live is not None and live.weights == checkpoint.weights and not unsaved,
        )
        message.create_time.FromDatetime(checkpoint.create_time)
        return message


def _metadata(request: state_pb2.SaveCheckpointRequest) -> dict[str, str]:
    metadata = dict(request.metadata)
    if len(metadata) > _MOST_NOTES or any(len(text) > _LONGEST_NOTE for note in metadata.items() for text in note):
        message = f"holds at most {_MOST_NOTES} notes of {_LONGEST_NOTE} characters each"
        raise InvalidArgument(message, field="metadata")
    return metadata


def _upload(header: state_pb2.LoadStateDictHeader) -> Upload:
    if header.total_bytes < 1:
        raise InvalidArgument(f"must be at least 1, got {header.total_bytes}", field="total_bytes")
    if len(header.request_id) > _LONGEST_REQUEST_ID:
        raise InvalidArgument(f"has at most {_LONGEST_REQUEST_ID} characters", field="request_id")
    return Upload(
        total_bytes=header.total_bytes,
        options=LoadOptions(
            strict=header.strict if header.HasField("strict") else True, keys=tuple(header.keys), cast=header.cast
        ),
        if_version=header.if_version if header.HasField("if_version") else None,
        durable=header.durable if header.HasField("durable") else True,
        request_id=header.request_id,
    )

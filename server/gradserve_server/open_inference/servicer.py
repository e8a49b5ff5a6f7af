"""GRPCInferenceService: each call, translated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gradserve.__about__ import __version__
from gradserve_server import snapshots, unloading
from gradserve_server.config import BatchingConfig
from gradserve_server.errors import NotFound, ServiceError, Unavailable
from gradserve_server.lifecycle import Lifecycle, Phase
from gradserve_server.metrics import Metrics
from gradserve_server.metrics.requests import OperationSeries
from gradserve_server.open_inference import grpc_service_pb2 as pb
from gradserve_server.open_inference.descriptions import Signatures, config, metadata
from gradserve_server.open_inference.forms import ReadableInfer
from gradserve_server.open_inference.inference import Inference
from gradserve_server.open_inference.refusals import repository_refusal
from gradserve_server.open_inference.repository import check_repository, checkpoint_of, index
from gradserve_server.open_inference.served import Served, served, shown_as
from gradserve_server.open_inference.statistics import statistics
from gradserve_server.registry import Registry
from gradserve_server.rpc import Context

_Named = pb.ModelReadyRequest | pb.ModelMetadataRequest | pb.ModelConfigRequest | pb.ModelStatisticsRequest

_NAME: Final = "gradserve"
_EXTENSIONS: Final = ("model_repository", "schedule_policy", "model_configuration", "parameters", "statistics")


@dataclass(frozen=True)
class Sources:
    """Where the servicer finds what it tells.

    Attributes:
        registry: The models.
        lifecycle: Whether the server is ready.
        metrics: What has been computed.
        batching: How requests are computed together.
        may_see: Whether the caller may know of a model.
    """

    registry: Registry
    lifecycle: Lifecycle
    metrics: Metrics
    batching: BatchingConfig
    may_see: Callable[[str], bool]


class OpenInferenceServicer:
    """Reads requests, asks the parts of the server, writes replies. It answers whether it is ready at any time."""

    def __init__(self, sources: Sources, inference: Inference) -> None:
        self._sources = sources
        self._inference = inference
        self._signatures = Signatures()

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:  # noqa: N802 - the RPC's name
        """Answer."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:  # noqa: N802 - the RPC's name
        """Tell whether the server serves."""
        return pb.ServerReadyResponse(ready=self._sources.lifecycle.phase is Phase.SERVING)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:  # noqa: N802 - the RPC's name
        """Tell whether a model is served; of one that is not there, that it is not."""
        try:
            self._served(request)
        except (NotFound, Unavailable):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def ServerMetadata(  # noqa: N802 - the RPC's name
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        """Tell name, version and extensions."""
        return pb.ServerMetadataResponse(name=_NAME, version=__version__, extensions=_EXTENSIONS)

    async def ModelMetadata(  # noqa: N802 - the RPC's name
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        """Tell what a model takes and gives."""
        model = self._served(request)
        return metadata(model, self._signatures.of(model))

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:  # noqa: N802 - the RPC's name
        """Tell how a model is batched too."""
        model = self._served(request)
        limits, batching = self._sources.registry.limits, self._sources.batching
        return pb.ModelConfigResponse(config=config(model, self._signatures.of(model), limits, batching))

    def ModelInfer(self, request: ReadableInfer, context: Context) -> Awaitable[bytes]:  # noqa: N802 - the RPC's name
        """Compute; the reply is the bytes of a ModelInferResponse."""
        self._sources.lifecycle.check_started()
        return self._inference.reply(request, context)

    def ModelStreamInfer(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[bytes]:
        """Compute what a stream brings; the answers are the bytes of ModelStreamInferResponses."""
        self._sources.lifecycle.check_started()
        return self._inference.answers(requests, context)

    async def ModelStatistics(  # noqa: N802 - the RPC's name
        self, request: pb.ModelStatisticsRequest, context: Context
    ) -> pb.ModelStatisticsResponse:
        """Tell what was computed of a model, or of all that the caller may see."""
        if request.name:
            return pb.ModelStatisticsResponse(model_stats=[self._statistics(self._served(request))])
        self._sources.lifecycle.check_started()
        models = self._sources.registry.models(self._sources.may_see)
        return pb.ModelStatisticsResponse(
            model_stats=[self._statistics(shown) for model in models for shown in shown_as(model)]
        )

    async def RepositoryIndex(  # noqa: N802 - the RPC's name
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        """List the models that the caller may see, by name."""
        check_repository(request.repository_name)
        self._sources.lifecycle.check_started()
        models = self._sources.registry.models(self._sources.may_see)
        shown = (entry for model in models if not (request.ready and model.failure) for entry in index(model))
        return pb.RepositoryIndexResponse(models=shown)

    async def RepositoryModelLoad(  # noqa: N802 - the RPC's name
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Make the weights of a checkpoint, or those that are kept, the live ones, and serve the model."""
        check_repository(request.repository_name)
        self._sources.lifecycle.check_started()
        checkpoint, registry = checkpoint_of(request.parameters), self._sources.registry
        try:
            if checkpoint:
                await snapshots.load(registry, request.model_name, checkpoint, None)
            else:
                await unloading.reload(registry, request.model_name)
        except ServiceError as refusal:
            raise repository_refusal(refusal) from refusal
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(  # noqa: N802 - the RPC's name
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Serve a model no more."""
        check_repository(request.repository_name)
        self._sources.lifecycle.check_started()
        try:
            await unloading.unload(self._sources.registry, request.model_name)
        except ServiceError as refusal:
            raise repository_refusal(refusal) from refusal
        return pb.RepositoryModelUnloadResponse()

    def _served(self, request: _Named) -> Served:
        self._sources.lifecycle.check_started()
        return served(self._sources.registry, request.name, request.version)

    def _statistics(self, model: Served) -> pb.ModelStatistics:
        counted = self._sources.metrics.operations(model.hosted.name)
        return statistics(model, counted.get(model.operation, OperationSeries()))

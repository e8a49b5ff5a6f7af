"""ModelService: the lifecycle of models, and the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gradserve.__about__ import __version__
from gradserve.v1 import model_pb2, model_pb2_grpc, tensor_pb2
from gradserve_server.config import Limits
from gradserve_server.definitions import ModelUpdate, NewModel
from gradserve_server.engine.capabilities.catalogue import describe_catalogue
from gradserve_server.errors import InvalidArgument
from gradserve_server.hosted import AnyModel, check_name
from gradserve_server.registry import Registry
from gradserve_server.rpc import Context
from gradserve_server.servicers.architectures import read_architecture
from gradserve_server.servicers.descriptions import Descriptions
from gradserve_server.servicers.paging import page_size
from gradserve_server.servicers.tensors import read_model_dtype

_UPDATABLE = ("device", "dtype", "requires_grad")
_MOST_PATHS = 16


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Reads requests, asks the registry, writes replies."""

    def __init__(self, registry: Registry, may_see: Callable[[str], bool], metrics_address: str) -> None:
        self._registry = registry
        self._may_see = may_see
        self._metrics_address = metrics_address
        self._descriptions = Descriptions()

    async def CreateModel(  # noqa: N802 - the RPC's name
        self, request: model_pb2.CreateModelRequest, context: Context
    ) -> model_pb2.CreateModelResponse:
        """Create a model and warm it up."""
        check_name(request.name, "name")
        new = NewModel(
            name=request.name,
            architecture=read_architecture(request.architecture, self._registry.limits.max_layers),
            dtype=read_model_dtype(request.dtype or tensor_pb2.DATA_TYPE_FLOAT32, "dtype"),
            device=request.device,
            seed=request.seed if request.HasField("seed") else None,
        )
        return model_pb2.CreateModelResponse(model=self._descriptions.of(await self._registry.create(new)))

    async def GetModel(  # noqa: N802 - the RPC's name
        self, request: model_pb2.GetModelRequest, context: Context
    ) -> model_pb2.GetModelResponse:
        """Describe one model."""
        return model_pb2.GetModelResponse(model=self._descriptions.of(self._registry.find(request.name)))

    async def ListModels(  # noqa: N802 - the RPC's name
        self, request: model_pb2.ListModelsRequest, context: Context
    ) -> model_pb2.ListModelsResponse:
        """List the models that the caller may see, by name. A page's token is the last name on it."""
        if request.page_token:
            check_name(request.page_token, "page_token")
        count = page_size(request.page_size)
        found = self._registry.models(self._may_see, after=request.page_token, count=count + 1)
        page = await self._page(found[:count])
        return model_pb2.ListModelsResponse(
            models=page, next_page_token=page[-1].name if len(found) > len(page) else ""
        )

    async def _page(self, found: list[AnyModel]) -> list[model_pb2.Model]:
        """The descriptions of some models, or of as many of the first as surely fit into a message."""
        page: list[model_pb2.Model] = []
        room = self._registry.limits.max_message_bytes // 2
        for hosted in found:
            description = self._descriptions.of(hosted)
            room -= description.ByteSize()
            if page and room < 0:
                break
            page.append(description)
            # A large model takes milliseconds to describe: let other calls in between.
            await asyncio.sleep(0)
        return page

    async def UpdateModel(  # noqa: N802 - the RPC's name
        self, request: model_pb2.UpdateModelRequest, context: Context
    ) -> model_pb2.UpdateModelResponse:
        """Change a model's device, dtype or requires_grad flags."""
        if_version = request.if_version if request.HasField("if_version") else None
        hosted = await self._registry.update(request.name, _update(request), if_version)
        return model_pb2.UpdateModelResponse(model=self._descriptions.of(hosted))

    async def DeleteModel(  # noqa: N802 - the RPC's name
        self, request: model_pb2.DeleteModelRequest, context: Context
    ) -> model_pb2.DeleteModelResponse:
        """Delete a model."""
        if_version = request.if_version if request.HasField("if_version") else None
        version = await self._registry.delete(request.name, if_version)
        return model_pb2.DeleteModelResponse(version=version)

    async def GetServerInfo(  # noqa: N802 - the RPC's name
        self, request: model_pb2.GetServerInfoRequest, context: Context
    ) -> model_pb2.GetServerInfoResponse:
        """Describe the server."""
        catalogue = describe_catalogue()
        devices = self._registry.devices
        return model_pb2.GetServerInfoResponse(
            version=__version__,
            torch_version=catalogue.torch_version,
            devices=[
                model_pb2.Device(name=device.name, description=device.description, memory_bytes=device.memory_bytes)
                for device in devices.all()
            ],
            num_threads=devices.threads,
            limits=_write_limits(self._registry.limits),
            metrics_address=self._metrics_address,
            layer_types=catalogue.layer_types,
            losses=catalogue.losses,
        )


def _update(request: model_pb2.UpdateModelRequest) -> ModelUpdate:
    paths = request.update_mask.paths
    if not paths:
        raise InvalidArgument(f"must name some of {', '.join(_UPDATABLE)}", field="update_mask")
    if len(paths) > _MOST_PATHS:
        raise InvalidArgument(f"has {len(paths)} paths; at most {_MOST_PATHS}", field="update_mask")
    if unknown := [path for path in paths if path not in _UPDATABLE]:
        message = f"{unknown[0]!r} cannot be changed; it takes: {', '.join(_UPDATABLE)}"
        raise InvalidArgument(message, field="update_mask")
    changes = [(change.parameters, change.requires_grad) for change in request.requires_grad]
    return ModelUpdate(
        device=request.device if "device" in paths else None,
        dtype=read_model_dtype(request.dtype, "dtype") if "dtype" in paths else None,
        requires_grad=changes if "requires_grad" in paths else (),
    )


def _write_limits(limits: Limits) -> model_pb2.Limits:
    return model_pb2.Limits(
        max_message_bytes=limits.max_message_bytes,
        max_rows=limits.max_rows,
        max_elements=limits.max_elements,
        max_parameters=limits.max_parameters,
        max_layers=limits.max_layers,
        max_models=limits.max_models,
        min_upload_bytes_per_second=limits.min_upload_bytes_per_second,
        max_stream_requests=limits.max_stream_requests,
    )

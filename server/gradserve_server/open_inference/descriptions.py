"""What a model takes and gives, as ModelMetadata and ModelConfig tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from gradserve_server.config import BatchingConfig, Limits
from gradserve_server.engine.capabilities.features import features
from gradserve_server.hosted import HostedModel
from gradserve_server.open_inference import grpc_service_pb2 as pb
from gradserve_server.open_inference.served import Served
from gradserve_server.open_inference.tensors import DATATYPES

_PLATFORM: Final = "pytorch_safetensors"
_BACKEND: Final = "pytorch"
_ANY: Final = -1
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True)
class Tensor:
    """An input or an output.

    Attributes:
        name: What requests call it.
        shape: Its dimensions, without the rows where these are counted apart; -1 for any size.
        optional: Whether a request may leave it out.
    """

    name: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """What NAME or NAME.gradient takes and gives; all of it in one datatype, though class targets may be integers.

    Attributes:
        datatype: Of the model's weights.
        inputs: What it takes.
        outputs: What it gives.
        has_rows: Whether the rows come before each shape and count as the batch.
    """

    datatype: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    has_rows: bool


class Signatures:
    """The signatures of hosted models. These never change, so each is found once."""

    def __init__(self) -> None:
        self._features: WeakKeyDictionary[HostedModel, tuple[tuple[int, ...], tuple[int, ...]]] = WeakKeyDictionary()

    def of(self, served: Served) -> Signature:
        """The signature of a model or of its gradients."""
        model = served.hosted.model
        if (shapes := self._features.get(served.hosted)) is None:
            shapes = self._features[served.hosted] = features(model)
        taken, given = shapes
        datatype = DATATYPES[model.dtype_name]
        if not served.of_gradient:
            return Signature(datatype, (Tensor("input", taken),), (Tensor("output", given),), has_rows=True)
        x, y = (_ANY, *taken), (_ANY, *given)
        inputs = (Tensor("input", x), Tensor("grad_output", y, optional=True), Tensor("target", y, optional=True))
        # The loss is a number: its rows are not counted apart, so nobody's are.
        outputs = (Tensor("loss", ()), Tensor("output", y), Tensor("input_gradient", x))
        return Signature(datatype, inputs, outputs, has_rows=False)


def metadata(served: Served, signature: Signature) -> pb.ModelMetadataResponse:
    """The reply of ModelMetadata."""

    def described(tensors: Sequence[Tensor]) -> Iterator[pb.ModelMetadataResponse.TensorMetadata]:
        for tensor in tensors:
            shape = (_ANY, *tensor.shape) if signature.has_rows else tensor.shape
            yield pb.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=signature.datatype, shape=shape)

    return pb.ModelMetadataResponse(
        name=served.name,
        versions=[str(served.hosted.version)],
        platform=_PLATFORM,
        inputs=described(signature.inputs),
        outputs=described(signature.outputs),
    )


def config(served: Served, signature: Signature, limits: Limits, batching: BatchingConfig) -> pb.ModelConfig:
    """What ModelConfig tells."""
    data_type = pb.DataType.Value(f"TYPE_{signature.datatype}")
    return pb.ModelConfig(
        name=served.name,
        platform=_PLATFORM,
        backend=_BACKEND,
        max_batch_size=limits.max_rows if signature.has_rows else 0,
        input=[
            pb.ModelInput(name=tensor.name, data_type=data_type, dims=tensor.shape, optional=tensor.optional)
            for tensor in signature.inputs
        ],
        output=[
            pb.ModelOutput(name=tensor.name, data_type=data_type, dims=tensor.shape) for tensor in signature.outputs
        ],
        dynamic_batching=pb.ModelDynamicBatching(
            preferred_batch_size=[batching.max_batch_rows],
            max_queue_delay_microseconds=round(batching.max_queue_delay * _MICROSECONDS),
            default_queue_policy=pb.ModelQueuePolicy(
                default_timeout_microseconds=round(batching.max_deadline * _MICROSECONDS), allow_timeout_override=True
            ),
        ),
        model_transaction_policy=pb.ModelTransactionPolicy(decoupled=False),
    )

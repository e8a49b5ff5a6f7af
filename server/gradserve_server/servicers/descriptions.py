"""What callers are told of a model."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from google.protobuf.timestamp_pb2 import Timestamp

from gradserve import codec
from gradserve.v1 import model_pb2
from gradserve_server.hosted import AnyModel, DamagedModel
from gradserve_server.servicers.architectures import write_architecture


class Descriptions:
    """The message of each hosted model. A hosted model never changes, so its message is written once."""

    def __init__(self) -> None:
        self._messages: WeakKeyDictionary[AnyModel, model_pb2.Model] = WeakKeyDictionary()

    def of(self, hosted: AnyModel) -> model_pb2.Model:
        """The message of a model; not to be changed."""
        if (message := self._messages.get(hosted)) is None:
            message = self._messages[hosted] = _describe(hosted)
        return message


def _describe(hosted: AnyModel) -> model_pb2.Model:
    if isinstance(hosted, DamagedModel):
        reason, not_serving = hosted.failure.text, model_pb2.MODEL_STATE_NOT_SERVING
        return model_pb2.Model(name=hosted.name, state=not_serving, state_reason=reason)
    parameters = hosted.model.describe_parameters()
    dtype = codec.dtype_from_name(hosted.model.dtype_name)
    create_time = Timestamp()
    create_time.FromDatetime(hosted.create_time)
    return model_pb2.Model(
        name=hosted.name,
        architecture=write_architecture(hosted.model.blueprint.architecture),
        dtype=dtype,
        device=hosted.device.name,
        version=hosted.version,
        total_parameters=hosted.model.total_parameters,
        trainable_parameters=hosted.model.trainable_parameters,
        named_parameters=[
            model_pb2.Parameter(
                name=parameter.name, shape=parameter.shape, dtype=dtype, requires_grad=parameter.requires_grad
            )
            for parameter in parameters
        ],
        text=str(hosted.model.module),
        supported_operations=hosted.operations,
        state=model_pb2.MODEL_STATE_NOT_SERVING if hosted.failure else model_pb2.MODEL_STATE_SERVING,
        state_reason=hosted.failure.text if hosted.failure else "",
        unsaved=hosted.unsaved,
        create_time=create_time,
        seed=hosted.seed,
    )

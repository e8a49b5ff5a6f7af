"""Cases as wire messages, and replies as torch tensors: written against the protos alone, without the SDK's codec."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import torch

from gradserve.v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc, tensor_pb2
from tests.properties.case import Case, LossCase
from tests.support.oracle import Answer, Layer, LayerArgument, LossArgument


@dataclass(frozen=True)
class Stubs:
    """The two services of one server."""

    models: model_pb2_grpc.ModelServiceStub
    inference: inference_pb2_grpc.InferenceServiceStub

    @classmethod
    def on(cls, channel: grpc.Channel) -> Stubs:
        """The stubs on a channel."""
        return cls(model_pb2_grpc.ModelServiceStub(channel), inference_pb2_grpc.InferenceServiceStub(channel))


@dataclass(frozen=True)
class Reply:
    """What a server answered: an answer as the oracle gives it, and what came with it."""

    answer: Answer
    version: int
    seed: int | None


def encode(tensor: torch.Tensor) -> tensor_pb2.Tensor:
    """A torch tensor as a message."""
    name = str(tensor.dtype).removeprefix("torch.").upper()
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return tensor_pb2.Tensor(dtype=tensor_pb2.DataType.Value(f"DATA_TYPE_{name}"), shape=tensor.shape, data=data)


def decode(message: tensor_pb2.Tensor) -> torch.Tensor:
    """A message as a torch tensor."""
    dtype = getattr(torch, _dtype_name(message.dtype))
    if not math.prod(message.shape):
        return torch.empty(tuple(message.shape), dtype=dtype)
    return torch.frombuffer(bytearray(message.data), dtype=dtype).reshape(tuple(message.shape))


def create_request(case: Case, name: str, device: str) -> model_pb2.CreateModelRequest:
    """The request that makes the case's model."""
    layers = [_layer(layer) for layer in case.layers]
    return model_pb2.CreateModelRequest(
        name=name,
        architecture=model_pb2.Architecture(sequential=model_pb2.Sequential(layers=layers)),
        dtype=tensor_pb2.DataType.Value(f"DATA_TYPE_{case.dtype.upper()}"),
        device=device,
        seed=case.weights_seed,
    )


def freeze_request(case: Case, name: str) -> model_pb2.UpdateModelRequest:
    """The request that freezes the case's frozen parameters."""
    request = model_pb2.UpdateModelRequest(
        name=name,
        requires_grad=[model_pb2.RequiresGrad(parameters=frozen, requires_grad=False) for frozen in case.frozen],
    )
    request.update_mask.paths.append("requires_grad")
    return request


def parameters(model: model_pb2.Model) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and dtype, as torch prints it, of each of a model's parameters."""
    return [
        (parameter.name, tuple(parameter.shape), f"torch.{_dtype_name(parameter.dtype)}")
        for parameter in model.named_parameters
    ]


def forward_request(case: Case, name: str) -> inference_pb2.ForwardRequest:
    """The case as a ForwardRequest."""
    return inference_pb2.ForwardRequest(
        model=name,
        input=encode(case.input.tensor()),
        training=case.training,
        seed=case.seed,
        deterministic=case.deterministic,
    )


def gradient_request(case: Case, name: str) -> inference_pb2.GradientRequest:
    """The case as a GradientRequest."""
    return inference_pb2.GradientRequest(
        model=name,
        input=encode(case.input.tensor()),
        training=case.training,
        seed=case.seed,
        deterministic=case.deterministic,
        loss=loss_message(case.loss) if case.loss else None,
        grad_output=encode(case.grad_output.tensor()) if case.grad_output else None,
        wrt=case.wrt,
        per_sample=case.per_sample,
        per_sample_result=f"PER_SAMPLE_RESULT_{case.per_sample_result}",
        max_norm=case.max_norm,
        is_grads_batched=case.is_grads_batched,
        return_output=case.return_output,
    )


def ask_forward(stubs: Stubs, case: Case, name: str) -> Reply:
    """Call Forward."""
    return read_forward(stubs.inference.Forward(forward_request(case, name), timeout=20))


def read_forward(reply: inference_pb2.ForwardResponse) -> Reply:
    """A ForwardResponse as an answer."""
    return Reply(Answer(decode(reply.output)), reply.version, seed_of(reply))


def ask_gradient(stubs: Stubs, case: Case, name: str) -> Reply:
    """Call Gradient; the output is empty unless the case asks for it."""
    reply = stubs.inference.Gradient(gradient_request(case, name), timeout=20)
    assert reply.HasField("output") == case.return_output, "the output is returned where it is asked for"
    return read_gradient(reply)


def read_gradient(reply: inference_pb2.GradientResponse) -> Reply:
    """A GradientResponse as an answer."""
    answer = Answer(
        output=decode(reply.output) if reply.HasField("output") else torch.empty(0),
        loss=decode(reply.loss) if reply.HasField("loss") else None,
        gradients={key: decode(gradient) for key, gradient in reply.gradients.items()},
        norms=decode(reply.norms) if reply.HasField("norms") else None,
    )
    return Reply(answer, reply.version, seed_of(reply))


SeededReply: TypeAlias = (
    inference_pb2.ForwardResponse
    | inference_pb2.GradientResponse
    | inference_pb2.JvpResponse
    | inference_pb2.HvpResponse
    | inference_pb2.JacobianResponse
)
Ask = Callable[[Stubs, Case, str], Reply]


def _dtype_name(dtype: tensor_pb2.DataType) -> str:
    return tensor_pb2.DataType.Name(dtype).removeprefix("DATA_TYPE_").lower()


def seed_of(reply: SeededReply) -> int | None:
    """The seed of a reply, if it has one."""
    return reply.seed if reply.HasField("seed") else None


def _layer(layer: Layer) -> model_pb2.Layer:
    return model_pb2.Layer(
        type=layer.type, arguments={name: _layer_argument(value) for name, value in layer.arguments.items()}
    )


def _layer_argument(value: LayerArgument) -> model_pb2.LayerArgument:
    match value:
        case bool():
            return model_pb2.LayerArgument(bool_value=value)
        case int():
            return model_pb2.LayerArgument(int_value=value)
        case float():
            return model_pb2.LayerArgument(double_value=value)
        case str():
            return model_pb2.LayerArgument(string_value=value)
        case tuple():
            return model_pb2.LayerArgument(int_list=model_pb2.IntList(values=value))


def loss_message(case: LossCase) -> inference_pb2.Loss:
    """A loss as a message."""
    loss = case.loss()
    return inference_pb2.Loss(
        name=loss.name,
        target=None if loss.target is None else encode(loss.target),
        reduction=loss.reduction,
        arguments={name: _loss_argument(value) for name, value in loss.arguments.items()},
    )


def _loss_argument(value: LossArgument) -> inference_pb2.LossArgument:
    match value:
        case bool():
            return inference_pb2.LossArgument(bool_value=value)
        case int():
            return inference_pb2.LossArgument(int_value=value)
        case float():
            return inference_pb2.LossArgument(double_value=value)
        case torch.Tensor():
            return inference_pb2.LossArgument(tensor_value=encode(value))

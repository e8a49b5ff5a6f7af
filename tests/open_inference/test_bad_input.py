"""What Forward and Gradient refuse, ModelInfer refuses too: by Triton's status, with its own field and their reason."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.message import Message

from gradserve.v1 import inference_pb2, model_pb2, model_pb2_grpc, tensor_pb2
from gradserve_server.open_inference.grpc_service_pb2 import InferParameter, ModelInferRequest
from tests.integration import bad_inference
from tests.integration.bad_input import VICTIM, Row, details, method_of, refusal
from tests.support.server import start_server

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"

DATATYPES = {
    "BOOL": "BOOL",
    "UINT8": "UINT8",
    "INT32": "INT32",
    "INT64": "INT64",
    "FLOAT16": "FP16",
    "FLOAT32": "FP32",
}

# What the protocol has no words for, beside gradients by parameters and tensors as arguments of a loss.
_WITHOUT_WORDS = ("training", "per_sample", "wrt")


def applies(row: Row) -> bool:
    """Whether a row can be put into the protocol's words."""
    request = row.request
    set_fields = {descriptor.name for descriptor, _ in request.ListFields()}
    arguments = request.loss.arguments.values() if isinstance(request, inference_pb2.GradientRequest) else ()
    is_version = not request.HasField("if_version") or request.if_version > 0
    by_parameters = row.field is not None and row.field.startswith("wrt")
    tensors = any(argument.HasField("tensor_value") for argument in arguments)
    return is_version and not (by_parameters or tensors or set_fields & set(_WITHOUT_WORDS))


def translated(request: Message) -> ModelInferRequest:
    """A request in the protocol's words."""
    is_gradient = isinstance(request, inference_pb2.GradientRequest)
    infer = ModelInferRequest(model_name=request.model + (".gradient" if is_gradient else ""))
    if request.HasField("if_version"):
        infer.model_version = str(request.if_version)
    if request.HasField("input"):
        add(infer, "input", request.input)
    if is_gradient and request.HasField("grad_output"):
        add(infer, "grad_output", request.grad_output)
    if is_gradient and request.HasField("loss"):
        infer.parameters["loss"].string_param = request.loss.name
        if request.loss.reduction:
            infer.parameters["reduction"].string_param = request.loss.reduction
        if request.loss.HasField("target"):
            add(infer, "target", request.loss.target)
        for name, argument in request.loss.arguments.items():
            set_parameter(infer, name, argument)
    return infer


def add(infer: ModelInferRequest, name: str, tensor: tensor_pb2.Tensor) -> None:
    """Put a tensor into a request, as wrong as it is."""
    known = tensor.dtype in tensor_pb2.DataType.values() and tensor.dtype
    dtype = tensor_pb2.DataType.Name(tensor.dtype).removeprefix("DATA_TYPE_") if known else ""
    infer.inputs.add(name=name, datatype=DATATYPES.get(dtype, dtype), shape=tensor.shape)
    infer.raw_input_contents.append(tensor.data)


def set_parameter(infer: ModelInferRequest, name: str, argument: inference_pb2.LossArgument) -> None:
    kind = argument.WhichOneof("value")
    parameter = infer.parameters[name]
    if kind is not None:
        types = {"bool_value": "bool_param", "int_value": "int64_param", "double_value": "double_param"}
        setattr(parameter, types[kind], getattr(argument, kind))


def field_of(row: Row, infer: ModelInferRequest) -> str:
    """The field of the protocol that must be named."""
    assert row.field is not None
    places = {tensor.name: index for index, tensor in enumerate(infer.inputs)}
    whole = {"model": "model_name", "if_version": "model_version", "loss": "parameters[loss]"}
    whole |= {"loss.name": "parameters[loss]", "loss.reduction": "parameters[reduction]"}
    for path, name in (("input", "input"), ("grad_output", "grad_output"), ("loss.target", "target")):
        place = f"inputs[{places[name]}]" if name in places else "inputs"
        whole |= {path: place, f"{path}.shape": f"{place}.shape", f"{path}.dtype": f"{place}.datatype"}
        whole |= {f"{path}.data": f"raw_input_contents[{places.get(name)}]"}
    return whole.get(row.field, row.field.replace("loss.arguments", "parameters"))


def status_of(row: Row) -> grpc.StatusCode:
    """Triton's: it knows no model under a name that none can have, nor limits as such."""
    if row.field in ("model", "if_version"):
        return grpc.StatusCode.NOT_FOUND
    return grpc.StatusCode.INVALID_ARGUMENT if row.status is grpc.StatusCode.RESOURCE_EXHAUSTED else row.status


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    """A channel to a server of its own: the rows' models are at their first version, and stay as they are."""
    options = [("grpc.max_send_message_length", -1)]
    with start_server() as server, grpc.insecure_channel(server.target, options) as opened:
        models = model_pb2_grpc.ModelServiceStub(opened)
        made = [models.CreateModel(request, timeout=20).model for request in bad_inference.MODELS]
        yield opened
        for model in made:
            found = models.GetModel(model_pb2.GetModelRequest(name=model.name), timeout=20).model
            assert found == model


@pytest.mark.parametrize("row", [row for row in bad_inference.ROWS if applies(row)], ids=str)
def test_it_is_refused_as_forward_and_gradient_refuse_it(channel: grpc.Channel, row: Row):
    infer = translated(row.request)
    error = refusal(channel, MODEL_INFER, infer.SerializeToString())
    assert error.code() is status_of(row), error
    info, violations = details(error)
    if row.field is not None:
        assert [violation.field for violation in violations] == [field_of(row, infer)] * bool(row.field)
    assert [word for word in row.says if word not in error.details()] == []
    theirs = refusal(channel, method_of(type(row.request)), row.request.SerializeToString())
    assert (info.domain, info.reason) == ("gradserve", details(theirs)[0].reason)


def entries(count: int) -> dict[str, InferParameter]:
    return {str(number): InferParameter(bool_param=True) for number in range(count)}


X = {"name": "input", "datatype": "FP32", "shape": [2, 4]}
TOO_MANY = {
    "inputs": ModelInferRequest(model_name=VICTIM, inputs=[{}] * 1_000_000),
    "outputs": ModelInferRequest(model_name=VICTIM, inputs=[X], outputs=[{"name": "output"}] * 1_000_000),
    "parameters": ModelInferRequest(model_name=VICTIM, parameters=entries(33)),
    "inputs[0].parameters": ModelInferRequest(model_name=VICTIM, inputs=[X | {"parameters": entries(33)}]),
    "inputs[0].contents": ModelInferRequest(
        model_name=VICTIM, inputs=[X | {"contents": {"fp32_contents": [0.0] * (2**20 + 1)}}]
    ),
}


@pytest.mark.parametrize("field", TOO_MANY)
def test_what_there_is_too_much_of_is_refused_before_it_is_looked_at(channel: grpc.Channel, field: str):
    error = refusal(channel, MODEL_INFER, TOO_MANY[field].SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details(error)[1]
    assert violation.field.startswith(field)


def test_a_malformed_message_is_an_invalid_argument(channel: grpc.Channel):
    error = refusal(channel, MODEL_INFER, b"\x0a\x7fshort")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error)[0].reason == "MALFORMED_MESSAGE"

"""What only Gradserve is asked: gradients, more datatypes, the repository, and what PyTriton lets pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.grpc as triton
from common_cases import INPUT, NET, RAW, Case, X, ask, with_input
from conversation import Talk, tensors
from tritonclient.grpc.service_pb2 import InferParameter, InferTensorContents, ModelInferRequest

GRADIENT = f"{NET}.gradient"
CLASSES = np.array([0, 2, 1, 1])
V = np.ones((4, 3), np.float32)
LOSS = {"loss": "cross_entropy"}


def gradient(parameters: dict[str, Any] | None = None, **arrays: np.ndarray) -> Case:
    """A request to NAME.gradient."""
    return lambda talk: talk.infer(GRADIENT, {"input": X, **arrays}, parameters=parameters)


def gradient_metadata(talk: Talk) -> dict[str, Any]:
    """The shapes of NAME.gradient by tensor."""
    reply = talk.client.get_model_metadata(GRADIENT)
    return {tensor.name: list(tensor.shape) for tensor in (*reply.inputs, *reply.outputs)}


def gradient_config(talk: Talk) -> dict[str, Any]:
    """What may be left out, and whether rows count as a batch."""
    config = talk.client.get_model_config(GRADIENT).config
    return {"optional": [tensor.name for tensor in config.input if tensor.optional], "batch": config.max_batch_size}


def states(talk: Talk) -> dict[str, str]:
    """What the index tells of the net."""
    models = talk.client.get_model_repository_index().models
    return {model.name: model.state for model in models if model.name.startswith(NET)}


def unloaded_and_loaded(talk: Talk) -> list[Any]:
    """The net's states and readiness, before, between and after."""
    told = [states(talk)]
    talk.client.unload_model(NET)
    told += [states(talk), talk.client.is_model_ready(NET), refusal(talk, ask())]
    talk.client.load_model(NET)
    return [*told, states(talk), talk.client.is_model_ready(NET)]


def refusal(talk: Talk, case: Case) -> str:
    """The status of what must fail."""
    try:
        case(talk)
    except Exception as error:  # noqa: BLE001 - of whichever client
        return error.code().name  # type: ignore[attr-defined] # it is gRPC's
    return "OK"


def failing_stream(talk: Talk) -> list[str]:
    """A stream that is to end with a status: how it ends."""
    requests = iter([ModelInferRequest(model_name="nobody"), ModelInferRequest(model_name=NET)])
    call = talk.stub.ModelStreamInfer(requests, metadata=[("triton_grpc_error", "true")], timeout=20)
    return [reply.error_message for reply in call]


def gradient_stream(talk: Talk) -> list[Any]:
    """Two gradients in a stream, and between them one that is refused."""

    def send(client: triton.InferenceServerClient) -> None:
        for number, target in enumerate((CLASSES, CLASSES + 9, CLASSES)):
            inputs = tensors({"input": X, "target": target})
            client.async_stream_infer(GRADIENT, inputs, request_id=f"{number}", parameters=LOSS)

    return talk.stream(send, 3)


def of_datatype(dtype: str) -> Case:
    """Class targets of a datatype."""
    return gradient(LOSS, target=CLASSES.astype(dtype))


def element_targets(datatype: str, **contents: Any) -> Case:
    """Class targets element by element."""
    target = {"name": "target", "datatype": datatype, "shape": [4], "contents": InferTensorContents(**contents)}
    values = InferTensorContents(fp32_contents=X.ravel().tolist())
    parameters = {"loss": InferParameter(string_param="cross_entropy")}
    return lambda talk: talk.ask(
        model_name=GRADIENT, inputs=[INPUT | {"contents": values}, target], parameters=parameters
    )


ANSWERED: dict[str, Case] = {
    "server metadata": lambda talk: talk.client.get_server_metadata(as_json=True),
    "gradient metadata": gradient_metadata,
    "gradient config": gradient_config,
    "gradient of a loss": gradient(LOSS, target=CLASSES),
    "gradient with an argument": gradient(LOSS | {"label_smoothing": 0.25, "reduction": "sum"}, target=CLASSES),
    "gradient along a vector": gradient(grad_output=V),
    "gradient of one output": lambda talk: talk.infer(
        GRADIENT, {"input": X, "grad_output": V}, outputs=[triton.InferRequestedOutput("input_gradient")]
    ),
    "gradient in a stream": gradient_stream,
    **{f"classes of {dtype}": of_datatype(dtype) for dtype in ("int8", "uint8", "int16", "int32", "int64")},
    "classes of INT8 element by element": element_targets("INT8", int_contents=CLASSES.tolist()),
    "classes of UINT8 element by element": element_targets("UINT8", uint_contents=CLASSES.tolist()),
    "classes of INT64 element by element": element_targets("INT64", int64_contents=CLASSES.tolist()),
    "FP64 for a model of FP32": lambda talk: talk.infer(NET, {"input": X.astype(np.float64)}),
    "BF16": with_input(raw=[(X.view(np.uint32) >> 16).astype(np.uint16).tobytes()], datatype="BF16"),
    "index": states,
    "unloaded and loaded": unloaded_and_loaded,
}

NO_CHECKPOINT = '{"parameters": {"checkpoint": {"string_value": "none"}}}'

REFUSED: dict[str, Case] = {
    "NOT_FOUND, a stream that is to end with a status": failing_stream,
    "INVALID_ARGUMENT, raw contents too many": ask(raw_input_contents=RAW * 2),
    "INVALID_ARGUMENT, an output twice": ask(outputs=[{"name": "output"}] * 2),
    "UNIMPLEMENTED, shared memory": with_input(
        raw=[], parameters={"shared_memory_region": InferParameter(string_param="region")}
    ),
    "UNIMPLEMENTED, classification": ask(
        outputs=[{"name": "output", "parameters": {"classification": InferParameter(int64_param=1)}}]
    ),
    "UNAVAILABLE, a timeout that is over": ask(parameters={"timeout": InferParameter(int64_param=1)}),
    "NOT_FOUND, the gradient of an unknown model": ask(model_name="nobody.gradient"),
    "INVALID_ARGUMENT, neither loss nor vector": gradient(),
    "INVALID_ARGUMENT, a target without a loss": gradient(target=CLASSES),
    "INVALID_ARGUMENT, an unknown loss": gradient({"loss": "none"}, target=CLASSES),
    "INVALID_ARGUMENT, an unknown argument": gradient(LOSS | {"beta": 1.0}, target=CLASSES),
    "INVALID_ARGUMENT, an argument that is a text": gradient(LOSS | {"label_smoothing": "much"}, target=CLASSES),
    "INVALID_ARGUMENT, a class that is not there": gradient(LOSS, target=CLASSES + 9),
    "INVALID_ARGUMENT, classes of floats": gradient(LOSS, target=CLASSES.astype(np.float32)),
    "INVALID_ARGUMENT, classes of bools": gradient(LOSS, target=CLASSES.astype(np.bool_)),
    "INVALID_ARGUMENT, classes of UINT16": gradient(LOSS, target=CLASSES.astype(np.uint16)),
    "INVALID_ARGUMENT, elements that the datatype cannot hold": element_targets("INT8", int_contents=[300] * 4),
    "INVALID_ARGUMENT, a vector of another shape": gradient(grad_output=V[:, :2].copy()),
    "INVALID_ARGUMENT, the loss of a vector": lambda talk: talk.infer(
        GRADIENT, {"input": X, "grad_output": V}, outputs=[triton.InferRequestedOutput("loss")]
    ),
    "NOT_FOUND, loading an unknown model": lambda talk: talk.client.load_model("nobody"),
    "NOT_FOUND, unloading an unknown model": lambda talk: talk.client.unload_model("nobody"),
    "FAILED_PRECONDITION, a checkpoint of a server without": lambda talk: talk.client.load_model(
        NET, config=NO_CHECKPOINT
    ),
    "INVALID_ARGUMENT, a config that says more": lambda talk: talk.client.load_model(NET, config='{"backend": "onnx"}'),
    "INVALID_ARGUMENT, a config that is no JSON": lambda talk: talk.client.load_model(NET, config="{"),
    "UNIMPLEMENTED, a file": lambda talk: talk.client.load_model(
        NET, config=NO_CHECKPOINT, files={"file:1/model.pt": b"weights"}
    ),
}
"""By the status and what is wrong."""

CASES = ANSWERED | REFUSED

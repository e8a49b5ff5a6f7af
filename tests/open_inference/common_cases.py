"""What any server of the protocol is asked that serves the net and the identities: see `conversation`."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from conversation import SECONDS, Talk, tensors, told
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc.service_pb2 import InferParameter, InferTensorContents

NET = "mlp-50-30-20-3"
X = np.linspace(-1, 1, 4 * 50, dtype=np.float32).reshape(4, 50)
INPUT = {"name": "input", "datatype": "FP32", "shape": [4, 50]}
RAW = [X.tobytes()]

Case = Callable[[Talk], Any]


def ask(**changes: Any) -> Case:
    """A request that is good but for some fields."""
    return lambda talk: talk.ask(**{"model_name": NET, "inputs": [INPUT], "raw_input_contents": RAW, **changes})


def with_input(raw: list[bytes] = RAW, **changes: Any) -> Case:
    """A request whose input is good but for some fields."""
    return ask(inputs=[INPUT | changes], raw_input_contents=raw)


def with_parameter(name: str, **value: Any) -> Case:
    """A request with a parameter."""
    return ask(parameters={name: InferParameter(**value)})


def identity(dtype: str) -> Case:
    """An identity of a dtype, asked for it."""
    array = np.array([[0.5, -1.25, 3.0]], dtype)
    return lambda talk: talk.infer(f"identity-{dtype}", {"input": array})


def elements(**contents: Any) -> Case:
    """The first row, or something else, element by element."""
    return with_input(raw=[], shape=[1, 50], contents=InferTensorContents(**contents))


def metadata(talk: Talk) -> dict[str, Any]:
    """What is told of the net, as far as it is the net's."""
    reply = talk.client.get_model_metadata(NET, as_json=True)
    return {name: reply[name] for name in ("name", "versions", "inputs", "outputs")}


def config(talk: Talk) -> dict[str, Any]:
    """What perf_analyzer reads, as far as it is the net's."""
    reply = talk.client.get_model_config(NET).config
    described = MessageToDict(reply, preserving_proto_field_name=True)
    batches = reply.max_batch_size > 0 and reply.WhichOneof("scheduling_choice") == "dynamic_batching"
    told_of = {name: described[name] for name in ("name", "input", "output")}
    return {**told_of, "batches": batches, "decoupled": reply.model_transaction_policy.decoupled}


def in_callbacks(talk: Talk) -> list[Any]:
    """Three requests at once, told apart by their ids."""
    answers: queue.Queue[Any] = queue.Queue()
    for number in range(3):
        row = tensors({"input": X[number : number + 1]})
        talk.client.async_infer(
            NET, row, lambda result, error: answers.put(error or told(result)), request_id=f"{number}"
        )
    return sorted((answers.get(timeout=SECONDS) for _ in range(3)), key=lambda answer: answer["id"])


def with_asyncio(talk: Talk) -> dict[str, Any]:
    """As the rest, by the client for asyncio."""

    async def talking() -> dict[str, Any]:
        async with triton_aio.InferenceServerClient(talk.target) as client:
            ready = await client.is_server_ready()
            result = await client.infer(NET, tensors({"input": X}), request_id="here")
            return {"ready": ready, **told(result)}

    return asyncio.run(talking())


def streamed(talk: Talk) -> list[Any]:
    """Four requests of a stream, of which two are refused."""

    def send(client: triton.InferenceServerClient) -> None:
        for number, model in enumerate((NET, "nobody", NET, NET)):
            rows = X[:, :49].copy() if number == 2 else X
            client.async_stream_infer(model, tensors({"input": rows}), request_id=f"{number}")

    return talk.stream(send, 4)


def statistics(talk: Talk) -> dict[str, int]:
    """What two requests of four rows add to the numbers of the net."""

    def counted() -> Any:
        (model,) = talk.client.get_inference_statistics(NET).model_stats
        return model

    before = counted()
    talk.infer(NET, {"input": X})
    talk.infer(NET, {"input": X})
    after, stats = counted(), before.inference_stats
    return {
        "rows": after.inference_count - before.inference_count,
        "executions": after.execution_count - before.execution_count,
        "success": after.inference_stats.success.count - stats.success.count,
        "queue": after.inference_stats.queue.count - stats.queue.count,
        "compute_infer": after.inference_stats.compute_infer.count - stats.compute_infer.count,
        "takes_time": after.inference_stats.success.ns > stats.success.ns,
        "is_recent": after.last_inference >= before.last_inference > 0,
    }


ANSWERED: dict[str, Case] = {
    "live": lambda talk: talk.client.is_server_live(),
    "ready": lambda talk: talk.client.is_server_ready(),
    "model ready": lambda talk: talk.client.is_model_ready(NET),
    "model ready at its version": lambda talk: talk.client.is_model_ready(NET, "1"),
    "model ready at another version": lambda talk: talk.client.is_model_ready(NET, "9"),
    "model ready that is not there": lambda talk: talk.client.is_model_ready("nobody"),
    "metadata": metadata,
    "config": config,
    "infer": lambda talk: talk.infer(NET, {"input": X}, request_id="mine"),
    "infer one row": lambda talk: talk.infer(NET, {"input": X[:1]}),
    "infer at a version": lambda talk: talk.infer(NET, {"input": X}, model_version="1"),
    "infer of a chosen output": lambda talk: talk.infer(
        NET, {"input": X}, outputs=[triton.InferRequestedOutput("output")]
    ),
    "infer with what Triton knows": lambda talk: talk.infer(
        NET, {"input": X}, priority=3, timeout=30_000_000, sequence_id=7, sequence_start=True, sequence_end=True
    ),
    "infer with a parameter of its own": lambda talk: talk.infer(NET, {"input": X}, parameters={"mine": "text"}),
    "infer in callbacks": in_callbacks,
    "infer with asyncio": with_asyncio,
    "infer element by element": elements(fp32_contents=X[0].tolist()),
    "infer in a stream": streamed,
    **{f"identity {dtype}": identity(dtype) for dtype in ("float16", "float32", "float64")},
    "statistics": statistics,
}

REFUSED: dict[str, Case] = {
    "NOT_FOUND, an unknown model": ask(model_name="nobody"),
    "NOT_FOUND, no name": ask(model_name=""),
    "NOT_FOUND, another version": ask(model_version="9"),
    "INVALID_ARGUMENT, a version that is no number": ask(model_version="x"),
    "NOT_FOUND, metadata of an unknown model": lambda talk: talk.client.get_model_metadata("nobody"),
    "NOT_FOUND, metadata of another version": lambda talk: talk.client.get_model_metadata(NET, "9"),
    "NOT_FOUND, config of an unknown model": lambda talk: talk.client.get_model_config("nobody"),
    "UNIMPLEMENTED, another repository": lambda talk: talk.stub.RepositoryIndex(
        triton.service_pb2.RepositoryIndexRequest(repository_name="other")
    ),
    "INVALID_ARGUMENT, no input": ask(inputs=[], raw_input_contents=[]),
    "INVALID_ARGUMENT, an unknown input": with_input(name="x"),
    "INVALID_ARGUMENT, an input too many": ask(inputs=[INPUT, INPUT | {"name": "x"}], raw_input_contents=RAW * 2),
    "INVALID_ARGUMENT, an input twice": ask(inputs=[INPUT] * 2, raw_input_contents=RAW * 2),
    "INVALID_ARGUMENT, no elements": with_input(raw=[]),
    "INVALID_ARGUMENT, a byte too few": with_input(raw=[RAW[0][:-1]]),
    "INVALID_ARGUMENT, a byte too many": with_input(raw=[RAW[0] + b"\0"]),
    "INVALID_ARGUMENT, too few features": with_input(raw=[bytes(4 * 4 * 49)], shape=[4, 49]),
    "INVALID_ARGUMENT, negative dimensions": with_input(shape=[-4, -50]),
    "INVALID_ARGUMENT, integers": with_input(raw=[bytes(8 * 200)], datatype="INT64"),
    "INVALID_ARGUMENT, bools": with_input(raw=[bytes(200)], datatype="BOOL"),
    "INVALID_ARGUMENT, texts": with_input(raw=[bytes(4 * 200)], datatype="BYTES"),
    "INVALID_ARGUMENT, an unknown datatype": with_input(datatype="float32"),
    "INVALID_ARGUMENT, no datatype": with_input(datatype=""),
    "INVALID_ARGUMENT, raw and by elements": with_input(contents=InferTensorContents(fp32_contents=[0.0] * 200)),
    "INVALID_ARGUMENT, an element too few": elements(fp32_contents=[0.0] * 49),
    "INVALID_ARGUMENT, elements of another datatype": elements(fp64_contents=[0.0] * 50),
    "INVALID_ARGUMENT, elements of FP16": with_input(
        raw=[], datatype="FP16", contents=InferTensorContents(fp32_contents=[0.0] * 200)
    ),
    "INVALID_ARGUMENT, an unknown output": ask(outputs=[{"name": "y"}]),
    "INVALID_ARGUMENT, a timeout that is a text": with_parameter("timeout", string_param="1"),
    "INVALID_ARGUMENT, a priority that is a text": with_parameter("priority", string_param="high"),
    "INVALID_ARGUMENT, a sequence that is a flag": with_parameter("sequence_id", bool_param=True),
    "INVALID_ARGUMENT, a start that is a number": with_parameter("sequence_start", int64_param=1),
    "INVALID_ARGUMENT, a reserved parameter": with_parameter("triton_mine", bool_param=True),
    "INVALID_ARGUMENT, a parameter without a value": with_parameter("mine"),
}
"""By the status and what is wrong."""

CASES = ANSWERED | REFUSED

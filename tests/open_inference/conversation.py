"""What Triton's own client is told by a server of the Open Inference Protocol, as JSON: a status and an answer a case.

    python conversation.py HOST:PORT CASES

CASES is a module beside this file, whose CASES are functions by name; each gets a `Talk`. It runs in an environment
that has tritonclient and nothing of Gradserve, and the same cases are put to any server.
"""

from __future__ import annotations

import importlib
import json
import queue
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

SECONDS = 60


@dataclass(frozen=True)
class Talk:
    """A server, and the ways to talk to it.

    Attributes:
        target: Where it is.
        client: tritonclient's own.
    """

    target: str
    client: triton.InferenceServerClient

    @cached_property
    def stub(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        """For what the client has no words for."""
        return service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(self.target))

    def infer(self, model: str, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, Any]:
        """The reply to some arrays."""
        return told(self.client.infer(model, tensors(inputs), client_timeout=SECONDS, **options))

    def ask(self, **fields: Any) -> dict[str, Any]:
        """The reply to a message that is made by hand."""
        reply = self.stub.ModelInfer(service_pb2.ModelInferRequest(**fields), timeout=SECONDS)
        return told(triton.InferResult(reply))

    def stream(self, send: Callable[[triton.InferenceServerClient], None], count: int) -> list[Any]:
        """So many answers of a stream that a function sends requests into; of a refusal, its message."""
        answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        with triton.InferenceServerClient(self.target) as client:
            client.start_stream(lambda result, error: answers.put((result, error)))
            send(client)
            found = [answers.get(timeout=SECONDS) for _ in range(count)]
        return [{"message": error.message()} if error is not None else told(result) for result, error in found]


def tensors(arrays: dict[str, np.ndarray]) -> list[triton.InferInput]:
    """The inputs of a request."""
    found = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        found.append(tensor)
    return found


def told(result: triton.InferResult) -> dict[str, Any]:
    """A reply: all that a test compares."""
    reply = result.get_response()
    outputs = {
        output.name: {
            "datatype": output.datatype,
            "shape": list(output.shape),
            "values": result.as_numpy(output.name).astype(np.float64).ravel().tolist(),
        }
        for output in reply.outputs
    }
    only_raw = not any(output.HasField("contents") for output in reply.outputs)
    return {"id": reply.id, "version": reply.model_version, "outputs": outputs, "only_raw": only_raw}


def outcome(case: Callable[[Talk], Any], talk: Talk) -> dict[str, Any]:
    """What becomes of a case."""
    try:
        return {"status": "OK", "answer": case(talk)}
    except InferenceServerException as error:
        return {"status": (error.status() or "").removeprefix("StatusCode."), "message": error.message()}
    except grpc.RpcError as error:
        return {"status": error.code().name, "message": error.details()}


def main(target: str, cases: str) -> None:
    """Put the cases to a server, one after the other."""
    functions: dict[str, Callable[[Talk], Any]] = importlib.import_module(cases).CASES
    with triton.InferenceServerClient(target) as client:
        talk = Talk(target, client)
        print(json.dumps({name: outcome(case, talk) for name, case in functions.items()}))  # noqa: T201 - its product


if __name__ == "__main__":
    main(*sys.argv[1:])

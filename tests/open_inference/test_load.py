"""A model that has too much to do tells so as Triton does, and when to come again as everywhere else."""

import asyncio
from collections import Counter

import grpc
import numpy as np

import gradserve
from gradserve_server.open_inference import grpc_service_pb2 as pb
from gradserve_server.open_inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from tests.support.server import start_server

ROWS, WIDTH, CALLS = 64, 1024, 200


async def flood(target: str, request: pb.ModelInferRequest) -> list[tuple[grpc.StatusCode, dict[str, str | bytes]]]:
    """The status and the trailers of each of many calls at once."""

    async def outcome(stub: GRPCInferenceServiceStub) -> tuple[grpc.StatusCode, dict[str, str | bytes]]:
        call = stub.ModelInfer(request, timeout=60)
        return await call.code(), dict(await call.trailing_metadata())

    async with grpc.aio.insecure_channel(target, [("grpc.enable_retries", 0)]) as channel:
        stub = GRPCInferenceServiceStub(channel)
        return await asyncio.gather(*(outcome(stub) for _ in range(CALLS)))


def test_a_full_queue_is_unavailable_with_the_time_to_come_again():
    with start_server("--set", f"batching.max_queue_rows={2 * ROWS}") as server:
        with gradserve.Client(server.target) as client:
            client.create_model("wide", gradserve.MLP(WIDTH, [WIDTH, WIDTH], 1), device="cpu")
        x = np.ones((ROWS, WIDTH), np.float32)
        inputs = [{"name": "input", "datatype": "FP32", "shape": x.shape}]
        request = pb.ModelInferRequest(model_name="wide", inputs=inputs, raw_input_contents=[x.tobytes()])
        outcomes = asyncio.run(flood(server.target, request))
    counted = Counter(code for code, _ in outcomes)
    assert counted.keys() == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    refused = [trailers for code, trailers in outcomes if code is grpc.StatusCode.UNAVAILABLE]
    assert all(int(trailers["grpc-retry-pushback-ms"]) > 0 for trailers in refused)
    assert all(b"QUEUE_FULL" in trailers["grpc-status-details-bin"] for trailers in refused)

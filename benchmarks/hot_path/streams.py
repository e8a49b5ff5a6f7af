"""Messages of a stream beside unary calls: the same requests by clients of the same kind, as many in flight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.calls import Call, forward
from benchmarks.echo import SERVICE
from benchmarks.generator import Order
from benchmarks.gradserve_process import GradserveProcess
from benchmarks.h2load import ask, grpc_endpoint
from benchmarks.hot_path.figure import Figure, Measure
from benchmarks.hot_path.servers import Servers
from benchmarks.nets import S
from benchmarks.stream_client import StreamOrder
from gradserve.cli.load_generator.summary import Summary
from gradserve.v1 import inference_pb2

SECTION = "streams"

_PATH = "/gradserve.v1.InferenceService/ForwardStream"
_TARGETS = {(1, 1): 1.8, (4, 16): 2.0}


@contextmanager
def figures(servers: Servers) -> Iterator[list[Figure]]:
    """Give the figures."""
    yield [_figure(servers, *load, target) for load, target in _TARGETS.items()]


def _figure(servers: Servers, streams: int, in_flight: int, target: float) -> Figure:
    gradserve, call = servers.gradserve, forward(S)
    message = _message(call)

    def ours(seconds: float) -> float:
        before = gradserve.ok_count()
        streamed = StreamOrder(gradserve.target, _PATH, message, streams, in_flight).run(seconds)
        call.check(inference_pb2.ForwardStreamResponse.FromString(streamed.reply).response.SerializeToString())
        gradserve.check_answered(before, streamed.messages)
        return streamed.messages_per_second

    def echoed(seconds: float) -> float:
        path = f"/{SERVICE}/stream-{_reply_size(gradserve, call)}"
        return StreamOrder(servers.echo.target, path, message, streams, in_flight).run(seconds).messages_per_second

    return Figure(
        section=SECTION,
        name=f"Forward S over {streams} {'stream' if streams == 1 else 'streams'}",
        yardstick="unary calls",
        load=f"{streams * in_flight} in flight",
        target=target,
        ours=ours,
        theirs=_calls(gradserve, call, streams * in_flight),
        bare=echoed,
    )


def _message(call: Call) -> bytes:
    request = inference_pb2.ForwardRequest.FromString(call.message)
    return inference_pb2.ForwardStreamRequest(id=1, request=request).SerializeToString()


def _reply_size(server: GradserveProcess, call: Call) -> int:
    reply = inference_pb2.ForwardResponse.FromString(ask(grpc_endpoint(server.target, call.path, call.message)))
    return inference_pb2.ForwardStreamResponse(id=1, response=reply).ByteSize()


def _calls(server: GradserveProcess, call: Call, in_flight: int) -> Measure:
    order = Order(server.target, call.path, call.message)

    def measure(seconds: float) -> float:
        before = server.ok_count()
        summary = Summary.of(order.closed(in_flight, seconds).answers)
        server.check_answered(before, summary.codes["OK"])
        return summary.ok_per_second

    return measure

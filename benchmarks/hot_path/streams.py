"""Messages of a stream beside unary calls: the same requests by clients of the same kind, as many in flight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.calls import Call, forward
from benchmarks.generator import Order
from benchmarks.gradserve_process import GradserveProcess
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
    """Give the figures, for each (streams, requests in flight on each)."""
    call = forward(S)
    yield [
        Figure(
            section=SECTION,
            name=f"Forward S over {streams} {'stream' if streams == 1 else 'streams'}",
            yardstick="unary calls",
            load=f"{streams * in_flight} in flight",
            target=target,
            ours=_messages(servers.gradserve, call, streams, in_flight),
            theirs=_calls(servers.gradserve, call, streams * in_flight),
        )
        for (streams, in_flight), target in _TARGETS.items()
    ]


def _messages(server: GradserveProcess, call: Call, streams: int, in_flight: int) -> Measure:
    request = inference_pb2.ForwardRequest.FromString(call.message)
    message = inference_pb2.ForwardStreamRequest(id=1, request=request).SerializeToString()
    order = StreamOrder(server.target, _PATH, message, streams, in_flight)

    def measure(seconds: float) -> float:
        before = server.ok_count()
        streamed = order.run(seconds)
        server.check_answered(before, streamed.messages)
        reply = inference_pb2.ForwardStreamResponse.FromString(streamed.reply)
        call.check(reply.response.SerializeToString())
        return streamed.messages / streamed.seconds

    return measure


def _calls(server: GradserveProcess, call: Call, in_flight: int) -> Measure:
    order = Order(server.target, call.path, call.message)

    def measure(seconds: float) -> float:
        before = server.ok_count()
        summary = Summary.of(order.closed(in_flight, seconds).answers)
        server.check_answered(before, summary.codes["OK"])
        return summary.ok_per_second

    return measure

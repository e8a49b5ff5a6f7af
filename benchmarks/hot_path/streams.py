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
from benchmarks.processes import running
from benchmarks.stream_client import Streamed, StreamOrder
from gradserve.cli.load_generator.summary import Summary
from gradserve.v1 import inference_pb2

SECTION = "streams"

_PATH = "/gradserve.v1.InferenceService/ForwardStream"
_TARGETS = {(1, 1): 1.8, (4, 16): 2.0}


@contextmanager
def figures(servers: Servers) -> Iterator[list[Figure]]:
    """Give the figures; what they need beside the servers runs inside the block."""
    with running("benchmarks.bare", S.name) as bare:
        yield [_figure(servers.gradserve, bare.target, *load, target) for load, target in _TARGETS.items()]


def _figure(gradserve: GradserveProcess, bare: str, streams: int, in_flight: int, target: float) -> Figure:
    call = forward(S)

    def ours(seconds: float) -> float:
        before = gradserve.ok_count()
        streamed = _streamed(gradserve.target, call, streams, in_flight, seconds)
        gradserve.check_answered(before, streamed.messages)
        return streamed.messages_per_second

    return Figure(
        section=SECTION,
        name=f"Forward S over {streams} {'stream' if streams == 1 else 'streams'}",
        yardstick="unary calls",
        load=f"{streams * in_flight} in flight",
        target=target,
        ours=ours,
        theirs=_calls(gradserve, call, streams * in_flight),
        bare=lambda seconds: _streamed(bare, call, streams, in_flight, seconds).messages_per_second,
    )


def _streamed(target: str, call: Call, streams: int, in_flight: int, seconds: float) -> Streamed:
    request = inference_pb2.ForwardRequest.FromString(call.message)
    message = inference_pb2.ForwardStreamRequest(id=1, request=request).SerializeToString()
    streamed = StreamOrder(target, _PATH, message, streams, in_flight).run(seconds)
    call.check(inference_pb2.ForwardStreamResponse.FromString(streamed.reply).response.SerializeToString())
    return streamed


def _calls(server: GradserveProcess, call: Call, in_flight: int) -> Measure:
    order = Order(server.target, call.path, call.message)

    def measure(seconds: float) -> float:
        before = server.ok_count()
        summary = Summary.of(order.closed(in_flight, seconds).answers)
        server.check_answered(before, summary.codes["OK"])
        return summary.ok_per_second

    return measure

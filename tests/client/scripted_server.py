"""A gRPC server that answers as a test says: what no healthy server does, but a client must cope with."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from gradserve.v1 import inference_pb2, model_pb2, state_pb2

OPTIONS = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 2**26)]
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class Refusal:
    """A call that fails."""

    code: grpc.StatusCode
    message: str = "refused"
    trailers: Metadata = ()


@dataclass(frozen=True)
class Stream:
    """A reply in parts; after them it ends, with a refusal if there is one, or goes on in silence."""

    parts: Sequence[state_pb2.GetStateDictResponse]
    refusal: Refusal | None = None
    endless: bool = False


@dataclass(frozen=True)
class ReceivedCall:
    """A call as it arrived; `parts` is what a stream of requests has brought until its end."""

    method: str
    metadata: dict[str, str | bytes]
    parts: list[state_pb2.LoadStateDictRequest] = field(default_factory=list)


Answer = (
    Refusal
    | Stream
    | model_pb2.GetServerInfoResponse
    | model_pb2.CreateModelResponse
    | model_pb2.DeleteModelResponse
    | inference_pb2.ForwardResponse
    | state_pb2.LoadStateDictResponse
    | state_pb2.ListCheckpointsResponse
)


@dataclass
class Script(grpc.GenericRpcHandler):
    """Gives each method's answers in turn, the last one again and again; a method without any never answers.

    Attributes:
        arrived: Set when a call has arrived.
        waiting: Set when a call that is never answered waits.
        ended: Set when it has ended.
    """

    answers: dict[str, Sequence[Answer]]
    calls: list[ReceivedCall] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    health: HealthServicer = field(default_factory=HealthServicer)

    def count(self, method: str) -> int:
        """Return how many calls of a method have arrived."""
        return sum(call.method == method for call in self.calls)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        package, method = details.method.lstrip("/").split("/")
        if not package.startswith("gradserve."):
            return None
        call = ReceivedCall(method, dict(details.invocation_metadata))
        self.calls.append(call)
        self.arrived.set()
        behaviour = self._behaviour(method, self.count(method))
        if method == "GetStateDict":
            return grpc.unary_stream_rpc_method_handler(behaviour)
        if method != "LoadStateDict":
            return grpc.unary_unary_rpc_method_handler(_whole(behaviour))

        def receive(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            if method in self.answers:
                call.parts.extend(map(state_pb2.LoadStateDictRequest.FromString, requests))
            return _whole(behaviour)(b"", context)

        return grpc.stream_unary_rpc_method_handler(receive)

    def _behaviour(self, method: str, number: int) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
        def behave(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            answers = self.answers.get(method, [Stream([], endless=True)])
            answer = answers[min(number, len(answers)) - 1]
            if not isinstance(answer, Refusal | Stream):
                yield answer.SerializeToString()
                return
            stream = answer if isinstance(answer, Stream) else Stream([], answer)
            yield from (part.SerializeToString() for part in stream.parts)
            if stream.endless:
                self._wait_for_the_end(context)
            elif stream.refusal is not None:
                context.set_trailing_metadata(stream.refusal.trailers)
                context.abort(stream.refusal.code, stream.refusal.message)

        return behave

    def _wait_for_the_end(self, context: grpc.ServicerContext) -> None:
        ended = futures.Future[None]()
        self.waiting.set()
        if context.add_callback(lambda: ended.set_result(None)):
            ended.result()
        self.ended.set()


@contextmanager
def scripted_server(port: int = 0, /, **answers: Sequence[Answer]) -> Iterator[tuple[str, Script]]:
    """Start a server, on a port of the system's choice if none is given; answers go by method: `Forward=[...]`."""
    script = Script(answers)
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[script], options=OPTIONS)
    add_HealthServicer_to_server(script.health, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}", script
    finally:
        server.stop(None).wait()


def _whole(
    behaviour: Callable[[bytes, grpc.ServicerContext], Iterator[bytes]],
) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Return a behaviour that answers at once, for a method whose reply is not a stream."""
    return lambda request, context: b"".join(behaviour(request, context))

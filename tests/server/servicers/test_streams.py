"""Streams on a real gRPC server, with requests that are answered when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gradserve.v1 import inference_pb2
from gradserve_server.errors import NotFound, ResourceExhausted
from gradserve_server.metrics import Metrics
from gradserve_server.rpc import handlers
from gradserve_server.servicers.streams import Streams

SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
METHOD = "/gradserve.v1.InferenceService/ForwardStream"
ROOM = 3
BESIDE = 2000
LARGE = 2**20
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
"""Options of a channel that lets a server send no more than that unread."""


@dataclass
class Desk:
    """Answers requests of a stream by hand.

    Attributes:
        arrived: The ids of the requests that it was handed, in their order.
        futures: By id, what the answer is to be put into; an id above 999 is answered at once instead.
    """

    streams: Streams = field(default_factory=lambda: Streams(ROOM))
    ordered: bool = False
    refuse: Callable[[object, Exception], bytes] | None = None
    arrived: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    futures: dict[int, asyncio.Future[bytes]] = field(default_factory=dict)

    Forward = Gradient = GradientStream = Jvp = Jacobian = Hvp = CheckGradients = None

    def ForwardStream(self, requests, context):  # noqa: N802 - the RPC's name
        refuse = {} if self.refuse is None else {"refuse": self.refuse}
        return self.streams.answers(requests, self.submit, context, **refuse, ordered=self.ordered)

    def submit(self, item: inference_pb2.ForwardStreamRequest) -> bytes | asyncio.Future[bytes]:
        self.arrived.put_nowait(item.id)
        if item.id > 999:
            return answer(item.id)
        self.futures[item.id] = asyncio.get_running_loop().create_future()
        return self.futures[item.id]

    async def arrivals(self, count: int) -> list[int]:
        return [await self.arrived.get() for _ in range(count)]


@dataclass(frozen=True)
class Caller:
    """The other end of one stream."""

    call: grpc.aio.StreamStreamCall
    channel: grpc.aio.Channel

    async def ask(self, *ids: int) -> None:
        for number in ids:
            await self.call.write(inference_pb2.ForwardStreamRequest(id=number).SerializeToString())

    async def answers(self, count: int) -> list[int]:
        return [inference_pb2.ForwardStreamResponse.FromString(await self.call.read()).id for _ in range(count)]

    async def another_round_trip(self) -> None:
        """Ask and be answered on a stream beside this one."""
        beside = Caller(self.channel.stream_stream(METHOD)(), self.channel)
        await beside.ask(BESIDE)
        assert await beside.answers(1) == [BESIDE]

    async def end(self) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call.read()
        return caught.value


def answer(number: int, size: int = 0) -> bytes:
    tensor = {"data": bytes(size)}
    return inference_pb2.ForwardStreamResponse(id=number, response={"output": tensor}).SerializeToString()


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    rpc_status.from_call(error).details[0].Unpack(info)
    return info.reason


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(SERVICE, desk, Metrics()),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", SMALL_WINDOW) as channel:
            yield channel
    finally:
        await server.stop(None)


def run(test: Callable[[Desk, Caller], Awaitable[None]], desk: Desk | None = None) -> None:
    """Run a test with a stream of its own, and see that nothing is left of it."""
    desk = desk or Desk()

    async def whole() -> None:
        async with asyncio.timeout(30):
            async with served(desk) as channel:
                await test(desk, Caller(channel.stream_stream(METHOD)(), channel))
            while desk.streams._open:  # noqa: ASYNC110 - gRPC tells nobody when it has dropped a call
                await asyncio.sleep(0)

    asyncio.run(whole())


def test_answers_overtake_each_other():
    async def test(desk, caller):
        await caller.ask(1, 2, 1000)
        await desk.arrivals(3)
        assert await caller.answers(1) == [1000]
        desk.futures[2].set_result(answer(2))
        assert await caller.answers(1) == [2]
        desk.futures[1].set_result(answer(1))
        assert await caller.answers(1) == [1]

    run(test)


def test_answers_of_an_ordered_stream_wait_for_those_before():
    async def test(desk, caller):
        await caller.ask(1, 2, 1000)
        await desk.arrivals(3)
        desk.futures[2].set_exception(ResourceExhausted("full"))
        await caller.another_round_trip()
        desk.futures[1].set_result(answer(1))
        assert await caller.answers(3) == [1, 2, 1000]

    run(test, Desk(ordered=True))


def test_a_refusal_that_is_not_answered_ends_the_stream_as_what_is_raised():
    def refuse(_item, _error):
        raise NotFound("nobody", reason="MODEL_NOT_FOUND")

    async def test(desk, caller):
        await caller.ask(1, 2, 1000)
        await desk.arrivals(3)
        assert await caller.answers(1) == [1000]
        desk.futures[2].set_exception(ResourceExhausted("full"))
        error = await caller.end()
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        assert desk.futures[1].cancelled()

    run(test, Desk(refuse=refuse))


def test_the_stream_ends_after_the_last_answer_to_a_caller_who_has_no_more_to_send():
    async def test(desk, caller):
        await caller.ask(1, 1000)
        await caller.call.done_writing()
        await desk.arrivals(2)
        assert await caller.answers(1) == [1000]
        desk.futures[1].set_result(answer(1))
        assert await caller.answers(1) == [1]
        assert await caller.call.read() is grpc.aio.EOF
        assert await caller.call.code() is grpc.StatusCode.OK

    run(test)


def test_a_stream_without_requests_ends_at_once():
    async def test(desk, caller):
        await caller.call.done_writing()
        assert await caller.call.read() is grpc.aio.EOF

    run(test)


def test_no_more_requests_are_taken_than_may_be_unanswered():
    async def test(desk, caller):
        await caller.ask(1, 2, 3, 1000)
        await caller.another_round_trip()
        assert await desk.arrivals(ROOM + 1) == [1, 2, 3, BESIDE]
        desk.futures[2].set_result(answer(2))
        assert await caller.answers(2) == [2, 1000]

    run(test)


def test_answers_that_nobody_reads_keep_further_requests_from_being_taken():
    async def test(desk, caller):
        await caller.ask(1, 2, 3, 4, 5, 6)
        await desk.arrivals(ROOM)
        for number in (1, 2, 3):
            desk.futures[number].set_result(answer(number, LARGE))
        await caller.another_round_trip()
        assert set(desk.futures) == {1, 2, 3}
        assert await caller.answers(3) == [1, 2, 3]
        assert await desk.arrivals(4) == [BESIDE, 4, 5, 6]

    run(test)


def test_what_waits_is_given_up_when_the_caller_goes_away():
    async def test(desk, caller):
        await caller.ask(1, 2)
        await desk.arrivals(2)
        caller.call.cancel()
        await asyncio.wait(desk.futures.values())
        assert all(future.cancelled() for future in desk.futures.values())

    run(test)


def test_what_waits_is_given_up_when_the_caller_goes_away_while_an_answer_is_on_its_way():
    async def test(desk, caller):
        await caller.ask(1, 2, 3)
        await desk.arrivals(3)
        for number in (1, 2):
            desk.futures[number].set_result(answer(number, LARGE))
        await caller.another_round_trip()
        caller.call.cancel()
        await asyncio.wait([desk.futures[3]])
        assert desk.futures[3].cancelled()

    run(test)


def test_a_request_that_fails_later_is_told_so_and_the_stream_goes_on():
    async def test(desk, caller):
        await caller.ask(1)
        await desk.arrivals(1)
        desk.futures[1].set_exception(ResourceExhausted("full", reason="QUEUE_FULL", retry_after=0.25))
        error = inference_pb2.ForwardStreamResponse.FromString(await caller.call.read()).error
        assert (error.code, error.message, error.retry_pushback_ms) == (8, "full", 250)
        await caller.ask(1000)
        assert await caller.answers(1) == [1000]

    run(test)


def test_a_message_that_cannot_be_read_ends_the_stream_after_the_answers_to_those_before_it():
    async def test(desk, caller):
        await caller.ask(1)
        await caller.call.write(b"\xff")
        await desk.arrivals(1)
        desk.futures[1].set_result(answer(1))
        assert await caller.answers(1) == [1]
        error = await caller.end()
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")

    run(test)


def test_a_server_that_stops_answers_what_it_has_read_and_ends_the_stream():
    async def test(desk, caller):
        await caller.ask(1)
        await desk.arrivals(1)
        desk.streams.stop()
        desk.futures[1].set_result(answer(1))
        assert await caller.answers(1) == [1]
        error = await caller.end()
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")

    run(test)


def test_a_server_that_stops_answers_the_caller_who_has_no_more_to_send():
    """Whether it learns of that before it stops is the network's affair; the stream ends either way."""

    async def test(desk, caller):
        await caller.ask(1)
        await caller.call.done_writing()
        await desk.arrivals(1)
        await caller.another_round_trip()
        desk.streams.stop()
        desk.futures[1].set_result(answer(1))
        assert await caller.answers(1) == [1]
        assert await caller.call.code() in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}

    run(test)

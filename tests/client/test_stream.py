"""Streams of the SDK, on a real server."""

import asyncio
import signal
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import gradserve
from tests.support.either_client import either_client
from tests.support.server import RunningServer, start_server

pytestmark = either_client

X = np.linspace(-1, 1, 4 * 50, dtype=np.float32).reshape(4, 50)
HEAVY = gradserve.MLP(1024, [1024, 1024, 1024], 1)
"""With ROWS some hundred milliseconds of work."""
ROWS = np.ones((4096, 1024), np.float32)


@pytest.fixture
def mlp(client: gradserve.Client) -> gradserve.Model:
    return client.model("mlp-50-30-20-3")


@pytest.fixture(scope="module")
def heavy(client: gradserve.Client) -> Iterator[gradserve.Model]:
    yield client.create_model("heavy", HEAVY)
    client.delete_model("heavy")


@pytest.fixture(scope="module")
def own_server() -> Iterator[RunningServer]:
    """A server that may be made silent: nobody else calls it."""
    with start_server("--examples") as server:
        yield server


@pytest.fixture
def own_client(own_server: RunningServer) -> Iterator[gradserve.Client]:
    with gradserve.Client(own_server.target, timeout=60) as client:
        client.model("mlp-50-30-20-3").info()
        yield client


@pytest.fixture
def own_mlp(own_client: gradserve.Client) -> gradserve.Model:
    return own_client.model("mlp-50-30-20-3")


@contextmanager
def silent(server: RunningServer) -> Iterator[None]:
    """While it lasts the server answers nothing."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


class TestAnswers:
    def test_forward_gives_what_a_call_gives(self, mlp: gradserve.Model):
        with mlp.stream() as stream:
            answers = [stream.forward(X[:rows], deterministic=True) for rows in (1, 2, 4)]
            for rows, answer in zip((1, 2, 4), answers, strict=True):
                assert np.array_equal(answer.result(), mlp(X[:rows], deterministic=True))

    def test_gradient_gives_what_a_call_gives(self, mlp: gradserve.Model):
        options = {"loss": "cross_entropy", "wrt": ["layers.0.*", "input"], "deterministic": True}
        called = mlp.gradient(X, [0, 1, 2, 0], **options)
        with mlp.stream() as stream:
            streamed = stream.gradient(X, [0, 1, 2, 0], **options).result()
        assert (streamed.version, list(streamed)) == (called.version, list(called))
        assert all(np.array_equal(streamed[name], called[name]) for name in called)

    def test_both_kinds_go_through_one_stream_at_once(self, mlp: gradserve.Model):
        with mlp.stream() as stream:
            forward, gradient = stream.forward(X), stream.gradient(X, loss="sum", wrt="input")
            assert (forward.result().shape, gradient.result().input.shape) == ((4, 3), (4, 50))

    def test_torch_tensors_come_back_for_torch_tensors(self, mlp: gradserve.Model):
        with mlp.stream() as stream:
            assert isinstance(stream.forward(torch.from_numpy(X)).result(), torch.Tensor)

    def test_any_number_of_threads_may_ask(self, mlp: gradserve.Model):
        expected = [mlp(row, deterministic=True) for row in X]
        with mlp.stream(max_in_flight=2) as stream, futures.ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda number: stream.forward(X[number % 4], deterministic=True).result(), range(64))
            )
        assert all(np.array_equal(answer, expected[number % 4]) for number, answer in enumerate(answers))

    def test_an_answer_can_be_awaited(self, mlp: gradserve.Model):
        async def output() -> np.ndarray:
            return await asyncio.wrap_future(stream.forward(X))

        with mlp.stream() as stream:
            assert asyncio.run(output()).shape == (4, 3)


class TestMap:
    def test_gives_the_outputs_in_the_order_of_the_inputs(self, mlp: gradserve.Model):
        xs = [X[number % 4] * number for number in range(100)]
        with mlp.stream(max_in_flight=7) as stream:
            outputs = list(stream.map(xs))
        assert np.allclose(outputs, mlp(np.stack(xs)), atol=1e-5)

    def test_takes_no_more_inputs_ahead_than_may_be_in_flight(self, mlp: gradserve.Model):
        taken = []
        with mlp.stream(max_in_flight=3) as stream:
            outputs = stream.map(taken.append(number) or X[0] for number in range(100))
            next(outputs)
            assert len(taken) <= 4
            outputs.close()

    def test_a_request_that_fails_ends_it(self, mlp: gradserve.Model):
        with mlp.stream() as stream, pytest.raises(gradserve.InvalidArgumentError):
            list(stream.map([X, X[:, :49], X]))


class TestFailures:
    def test_a_refused_request_raises_what_a_call_raises_and_the_stream_goes_on(self, mlp: gradserve.Model):
        with pytest.raises(gradserve.InvalidArgumentError) as called:
            mlp(X[:, :49])
        with mlp.stream() as stream:
            with pytest.raises(gradserve.InvalidArgumentError) as streamed:
                stream.forward(X[:, :49]).result()
            assert stream.forward(X).result().shape == (4, 3)
        assert str(streamed.value) == str(called.value)
        assert streamed.value.reason == called.value.reason
        assert streamed.value.field_violations == called.value.field_violations

    def test_a_model_that_is_not_there_is_a_not_found_error(self, client: gradserve.Client):
        with client.model("nobody").stream() as stream:
            assert isinstance(stream.forward(X).exception(), gradserve.NotFoundError)

    def test_a_full_server_says_when_to_try_again(self):
        with (
            start_server("--set", "batching.max_queue_rows=1") as server,
            gradserve.Client(server.target, timeout=60) as client,
            client.create_model("heavy", HEAVY).stream() as stream,
        ):
            errors = [answer.exception() for answer in [stream.forward(ROWS[:512]) for _ in range(8)]]
        refused = [error for error in errors if error is not None]
        assert {type(error) for error in refused} == {gradserve.ResourceExhaustedError}
        assert all(error.retry_after > 0 for error in refused)

    def test_what_has_no_form_on_the_wire_is_refused_at_once_and_holds_no_place(self, mlp: gradserve.Model):
        with mlp.stream(max_in_flight=1) as stream:
            with pytest.raises(gradserve.InvalidArgumentError):
                stream.forward(np.array(["a"]))
            assert stream.forward(X).result(timeout=30).shape == (4, 3)

    def test_a_server_that_is_killed_fails_every_open_request_and_every_later_one(self):
        with (
            start_server("--examples") as server,
            gradserve.Client(server.target, timeout=60) as client,
            client.model("mlp-50-30-20-3").stream() as stream,
        ):
            stream.forward(X).result()
            with silent(server):
                answers = [stream.forward(X) for _ in range(3)]
                server.process.kill()
            assert [type(answer.exception()) for answer in answers] == [gradserve.UnavailableError] * 3
            with pytest.raises(gradserve.UnavailableError):
                stream.forward(X)

    def test_a_closed_client_fails_every_open_request(self, own_server: RunningServer, own_client: gradserve.Client):
        stream = own_client.model("mlp-50-30-20-3").stream()
        stream.forward(X).result()
        with silent(own_server):
            answer = stream.forward(X)
            own_client.close()
            assert isinstance(answer.exception(), gradserve.ClientClosedError)

    @pytest.mark.parametrize("count", [0, -1])
    def test_max_in_flight_must_be_positive(self, mlp: gradserve.Model, count: int):
        with pytest.raises(ValueError, match=f"max_in_flight must be positive, got {count}"):
            mlp.stream(max_in_flight=count)


class TestTimeout:
    def test_a_request_fails_in_time_also_where_the_server_is_silent(
        self, own_server: RunningServer, own_mlp: gradserve.Model
    ):
        with own_mlp.stream() as stream:
            stream.forward(X).result()
            with silent(own_server):
                late = stream.forward(X, timeout=0.05)
                with pytest.raises(gradserve.DeadlineExceededError, match=r"no answer within 0\.05 s"):
                    late.result()
            assert isinstance(late.exception(), gradserve.DeadlineExceededError)
            assert stream.forward(X).result().shape == (4, 3)

    def test_a_request_for_which_there_is_no_room_fails_in_time(
        self, own_server: RunningServer, own_mlp: gradserve.Model
    ):
        with own_mlp.stream(max_in_flight=1) as stream:
            stream.forward(X).result()
            with silent(own_server):
                answer = stream.forward(X)
                with pytest.raises(gradserve.DeadlineExceededError, match="no earlier request was answered in time"):
                    stream.forward(X, timeout=0.05)
            assert answer.result().shape == (4, 3)

    def test_a_shorter_wait_for_the_result_leaves_the_request_open(
        self, own_server: RunningServer, own_mlp: gradserve.Model
    ):
        with own_mlp.stream() as stream:
            stream.forward(X).result()
            with silent(own_server):
                answer = stream.forward(X)
                with pytest.raises(TimeoutError) as caught:
                    answer.result(timeout=0.01)
                assert not isinstance(caught.value, gradserve.Error)
            assert answer.result().shape == (4, 3)

    def test_the_server_gives_up_a_request_whose_time_is_over(self, heavy: gradserve.Model):
        with heavy.stream() as stream:
            stream.forward(ROWS, timeout=60)
            late = stream.forward(ROWS, timeout=1e-9)
            assert isinstance(late.exception(), gradserve.DeadlineExceededError)


class TestRoom:
    def test_a_request_waits_while_there_are_as_many_without_an_answer_as_may_be(self, heavy: gradserve.Model):
        with heavy.stream(max_in_flight=1) as stream:
            first = stream.forward(ROWS, timeout=60)
            stream.forward(ROWS[:1], timeout=60)
            assert first.done()

    def test_an_answer_that_is_given_up_makes_room(self, own_server: RunningServer, own_mlp: gradserve.Model):
        with own_mlp.stream(max_in_flight=1) as stream:
            stream.forward(X).result()
            with silent(own_server):
                assert stream.forward(X).cancel()
                answer = stream.forward(X, timeout=30)
            assert answer.result().shape == (4, 3)


class TestEnd:
    def test_leaving_the_block_waits_for_the_answers(self, heavy: gradserve.Model):
        with heavy.stream() as stream:
            answer = stream.forward(ROWS, timeout=60)
        assert answer.done()
        assert answer.result().shape == (4096, 1)

    def test_leaving_it_by_an_exception_gives_them_up(self, own_server: RunningServer, own_mlp: gradserve.Model):
        answers: list[gradserve.Future] = []

        def leave() -> None:
            with own_mlp.stream() as stream:
                answers.append(stream.forward(X))
                raise KeyError

        with silent(own_server), pytest.raises(KeyError):
            leave()
        assert isinstance(answers[0].exception(), gradserve.CancelledError)

    def test_nothing_can_be_asked_after_it(self, mlp: gradserve.Model):
        with mlp.stream() as stream:
            stream.forward(X)
        with pytest.raises(gradserve.CancelledError, match="the stream is closed"):
            stream.forward(X)
        assert repr(stream).endswith(", closed>")

    def test_a_second_close_does_nothing(self, mlp: gradserve.Model):
        stream = mlp.stream()
        stream.forward(X)
        stream.close()
        stream.close()
        stream.cancel()

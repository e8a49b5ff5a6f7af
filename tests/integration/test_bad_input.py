"""What cannot be answered is refused with status, field and reason, and leaves server and models as they were."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from gradserve.v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc
from tests.integration import bad_inference, bad_models, bad_products, bad_rows
from tests.integration.bad_input import VICTIM, Row, method_of, reason_of, refusal, tensor, values
from tests.support.server import RunningServer

GARBAGE = (b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x0a\x7fshort", b"\x07")
GOOD_FORWARD = inference_pb2.ForwardRequest(model=VICTIM, input=bad_inference.X, deterministic=True)
GOOD_GRADIENT = bad_inference.gradient(loss=bad_inference.MSE)
REQUESTS = (
    GOOD_FORWARD,
    GOOD_GRADIENT,
    bad_products.jvp({"input": bad_inference.X}),
    bad_products.hvp({"input": bad_inference.X}),
    bad_models.create(),
    bad_models.update("device", device="cpu"),
    model_pb2.GetModelRequest(name=VICTIM),
    model_pb2.DeleteModelRequest(name=VICTIM),
    model_pb2.ListModelsRequest(page_token=VICTIM),
)


@dataclass(frozen=True)
class Rpcs:
    """The services on one channel, and what the victim answers through them."""

    channel: grpc.Channel

    @property
    def models(self) -> model_pb2_grpc.ModelServiceStub:
        return model_pb2_grpc.ModelServiceStub(self.channel)

    @property
    def inference(self) -> inference_pb2_grpc.InferenceServiceStub:
        return inference_pb2_grpc.InferenceServiceStub(self.channel)

    def state(self) -> tuple[bytes, bytes, list[str]]:
        """The victim's description and output, and every model's name."""
        described = self.models.GetModel(model_pb2.GetModelRequest(name=VICTIM), timeout=20)
        output = self.inference.Forward(GOOD_FORWARD, timeout=20)
        listed = self.models.ListModels(model_pb2.ListModelsRequest(page_size=1000), timeout=20)
        names = [model.name for model in listed.models]
        return described.SerializeToString(deterministic=True), output.SerializeToString(deterministic=True), names


@pytest.fixture(scope="module")
def rpcs(target: str) -> Iterator[Rpcs]:
    """The server, which holds the rows' models for as long."""
    with grpc.insecure_channel(target, options=[("grpc.max_send_message_length", -1)]) as channel:
        opened = Rpcs(channel)
        for request in bad_inference.MODELS:
            opened.models.CreateModel(request, timeout=20)
        opened.models.UpdateModel(bad_inference.FREEZE, timeout=20)
        yield opened
        for made in bad_inference.MODELS:
            opened.models.DeleteModel(model_pb2.DeleteModelRequest(name=made.name), timeout=20)


@pytest.fixture
def unharmed(rpcs: Rpcs) -> Iterator[None]:
    """The victim and the list of models are after the test what they were before."""
    before = rpcs.state()
    yield
    assert rpcs.state() == before


@pytest.mark.parametrize("row", [*bad_inference.ROWS, *bad_products.ROWS, *bad_rows.ROWS, *bad_models.ROWS], ids=str)
def test_it_is_refused_with_its_status_its_field_and_a_reason(rpcs: Rpcs, unharmed: None, row: Row) -> None:
    row.check(rpcs.channel)


@pytest.mark.parametrize("data", GARBAGE, ids=repr)
@pytest.mark.parametrize("request_type", [type(request) for request in REQUESTS], ids=method_of)
def test_garbage_is_a_malformed_message(rpcs: Rpcs, unharmed: None, request_type: type, data: bytes) -> None:
    error = refusal(rpcs.channel, method_of(request_type), data)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error) == "MALFORMED_MESSAGE"


@pytest.mark.parametrize(
    "request_type", [model_pb2.CreateModelRequest, model_pb2.GetModelRequest, inference_pb2.ForwardRequest]
)
def test_a_name_that_is_not_utf_8_is_a_malformed_message(rpcs: Rpcs, unharmed: None, request_type: type) -> None:
    error = refusal(rpcs.channel, method_of(request_type), b"\x0a\x03\xff\xfe\xfd")

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error) == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: method_of(type(request)))
def test_a_truncated_message_is_a_malformed_message(rpcs: Rpcs, unharmed: None, request_: object) -> None:
    # One byte into its last field.
    first_field = request_.SerializeToString()[:3]

    error = refusal(rpcs.channel, method_of(type(request_)), first_field)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error) == "MALFORMED_MESSAGE"


def test_a_model_beyond_the_limit_is_refused_before_it_is_allocated(server: RunningServer, rpcs: Rpcs) -> None:
    before = _peak_memory(server.process.pid)
    four_gigabytes = bad_models.create(bad_models.architecture(bad_models.linear(2**15, 2**15)))

    error = refusal(rpcs.channel, method_of(type(four_gigabytes)), four_gigabytes.SerializeToString())

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _peak_memory(server.process.pid) - before < 2**26


def test_a_message_above_the_limit_leaves_the_next_call_working(rpcs: Rpcs, unharmed: None) -> None:
    huge = inference_pb2.ForwardRequest(model=VICTIM, input=tensor(2**22 + 1, 4))

    error = refusal(rpcs.channel, method_of(type(huge)), huge.SerializeToString())

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("count", [0, 2])
def test_a_call_with_another_number_of_messages_than_one_leaves_the_next_call_working(
    rpcs: Rpcs, unharmed: None, count: int
) -> None:
    call = rpcs.channel.stream_unary(method_of(inference_pb2.ForwardRequest))

    with suppress(grpc.RpcError):
        call(iter([GOOD_FORWARD.SerializeToString()] * count), timeout=1)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: gradserve\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\xff\xff\xff\0\5\0\0\0\1",
        gzip.compress(bytes(2**20)),
    ],
    ids=["another protocol", "no frames", "a frame of 16 MiB that never comes", "noise"],
)
def test_malformed_frames_leave_the_next_call_working(target: str, rpcs: Rpcs, unharmed: None, data: bytes) -> None:
    host, _, port = target.rpartition(":")

    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_input_that_is_not_finite_is_computed_as_torch_computes_it(rpcs: Rpcs, value: float) -> None:
    x = values([[value] * 4], "float32")

    reply = rpcs.inference.Forward(inference_pb2.ForwardRequest(model=VICTIM, input=x), timeout=20)

    output = np.frombuffer(reply.output.data, np.float32)
    assert not np.isfinite(output).any()


def test_no_rows_give_an_empty_output(rpcs: Rpcs) -> None:
    reply = rpcs.inference.Forward(inference_pb2.ForwardRequest(model=VICTIM, input=tensor(0, 4)), timeout=20)

    assert (list(reply.output.shape), reply.output.data) == ([0, 3], b"")


def test_no_rows_give_a_mean_that_is_not_a_number_and_gradients_of_zero(rpcs: Rpcs) -> None:
    loss = bad_inference.loss("mse_loss", tensor(0, 3))

    reply = rpcs.inference.Gradient(bad_inference.gradient(x=tensor(0, 4), loss=loss), timeout=20)

    assert np.isnan(np.frombuffer(reply.loss.data, np.float32)).all()
    assert reply.gradients["layers.0.weight"].data == bytes(4 * 4 * 3)


def _peak_memory(pid: int) -> int:
    """Bytes that the process has had in memory at most, where the system tells."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("this system does not tell a process's peak memory")
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024

"""Errors: one class per status, with what the server and gRPC tell."""

import re

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

import gradserve
from gradserve import _errors
from tests.client.scripted_server import Metadata, Refusal, scripted_server
from tests.support.no_pickle.sitecustomize import pickled_copy

CLASSES = [*_errors.CLASSES.values(), gradserve.ClientClosedError]
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
INFO = error_details_pb2.ErrorInfo(reason="MODEL_GONE", domain="gradserve", metadata={"model": "m"})
REQUEST = error_details_pb2.BadRequest(
    field_violations=[error_details_pb2.BadRequest.FieldViolation(field="input.shape", description="too long")]
)
RETRY = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000))


def trailers(code: grpc.StatusCode, *details: Message) -> Metadata:
    """Return the trailers in which google.rpc.Status travels."""
    packed = [any_pb2.Any() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    status = status_pb2.Status(code=code.value[0], message="refused", details=packed)
    return tuple(rpc_status.to_status(status).trailing_metadata)


def error_of(refusal: Refusal) -> gradserve.Error:
    """Return what a call raises that the server refuses; DeleteModel is one that is never retried."""
    with scripted_server(DeleteModel=[refusal]) as (target, _), gradserve.Client(target) as client:
        with pytest.raises(gradserve.Error) as caught:
            client.delete_model("m")
        return caught.value


class TestTree:
    @pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
    def test_every_status_has_a_class_of_its_own_name(self, code: grpc.StatusCode):
        error = error_of(Refusal(code))
        assert error.code is code
        assert type(error).__name__ == code.name.title().replace("_", "") + "Error"

    def test_every_class_is_public_and_in_the_drawn_tree(self):
        names = {cls.__name__ for cls in CLASSES}
        assert names == set(re.findall(r"── (\w+)", _errors.__doc__ or ""))
        assert names <= set(gradserve.__all__)

    @pytest.mark.parametrize(
        ("error", "builtin"),
        [
            (gradserve.DeadlineExceededError, TimeoutError),
            (gradserve.InvalidArgumentError, ValueError),
            (gradserve.NotFoundError, LookupError),
            (gradserve.OutOfRangeError, ValueError),
            (gradserve.PermissionDeniedError, PermissionError),
            (gradserve.UnauthenticatedError, PermissionError),
            (gradserve.UnavailableError, ConnectionError),
            (gradserve.UnimplementedError, NotImplementedError),
        ],
    )
    def test_what_python_has_a_class_for_is_caught_by_that_too(self, error: type[Exception], builtin: type[Exception]):
        assert issubclass(error, builtin)

    @pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
    def test_an_error_survives_pickling(self, cls: type[gradserve.Error]):
        violation = gradserve.FieldViolation("wrt[1]", "unknown")
        error = cls(
            "refused", reason="R", field_violations=[violation], metadata={"a": "b"}, call_id="1", retry_after=2
        )
        copy = pickled_copy(error)
        assert (type(copy), str(copy), vars(copy)) == (cls, "refused", vars(error))


class TestDetails:
    def test_reason_fields_and_metadata_come_from_google_rpc_status(self):
        code = grpc.StatusCode.INVALID_ARGUMENT
        error = error_of(Refusal(code, trailers=trailers(code, INFO, REQUEST)))
        assert error.message == str(error) == "refused"
        assert error.reason == "MODEL_GONE"
        assert error.metadata == {"model": "m"}
        assert error.field_violations == (gradserve.FieldViolation("input.shape", "too long"),)

    def test_a_plain_grpc_error_has_empty_details(self):
        error = error_of(Refusal(grpc.StatusCode.ABORTED))
        assert (error.reason, error.metadata, error.field_violations, error.retry_after) == ("", {}, (), None)

    @pytest.mark.parametrize(
        "details",
        [b"\xff garbage", status_pb2.Status(code=5, message="of another status").SerializeToString()],
        ids=["garbage", "another status"],
    )
    def test_details_that_cannot_be_trusted_are_left_out(self, details: bytes):
        error = error_of(Refusal(grpc.StatusCode.ABORTED, trailers=(("grpc-status-details-bin", details),)))
        assert (type(error), error.reason) == (gradserve.AbortedError, "")

    def test_the_call_id_is_the_one_that_was_sent(self):
        with (
            scripted_server(DeleteModel=[Refusal(grpc.StatusCode.ABORTED)]) as (target, script),
            gradserve.Client(target) as client,
            pytest.raises(gradserve.AbortedError) as caught,
        ):
            client.delete_model("m")
        assert caught.value.call_id == script.calls[0].metadata["x-request-id"]

    def test_a_call_id_that_the_server_gives_goes_first(self):
        error = error_of(Refusal(grpc.StatusCode.ABORTED, trailers=(("x-request-id", "of the server"),)))
        assert error.call_id == "of the server"

    def test_the_cause_is_grpcs_own_error(self):
        assert isinstance(error_of(Refusal(grpc.StatusCode.ABORTED)).__cause__, grpc.RpcError)


class TestRetryAfter:
    @pytest.mark.parametrize(("pushback", "seconds"), [("1500", 1.5), ("0", 0.0), ("-1", None), ("soon", None)])
    def test_is_the_pushback_in_seconds_where_trying_again_can_help(self, pushback: str, seconds: float | None):
        refusal = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, trailers=(("grpc-retry-pushback-ms", pushback),))
        assert error_of(refusal).retry_after == seconds

    def test_is_the_retry_info_where_there_is_no_pushback(self):
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error_of(Refusal(code, trailers=trailers(code, RETRY))).retry_after == 1.5

"""The boundary where a refusal becomes a gRPC status."""

import inspect

import grpc
import pytest
from google.rpc import error_details_pb2

from gradserve_server import errors
from gradserve_server.status import CODES, status_of

REFUSALS = [
    refusal
    for _, refusal in inspect.getmembers(errors, inspect.isclass)
    if issubclass(refusal, errors.ServiceError) and refusal is not errors.ServiceError
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_has_the_status_of_its_name(refusal):
    name = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in refusal.__name__).lstrip("_")
    assert CODES[refusal].name == name.upper()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_has_a_reason_for_programs(refusal):
    assert refusal.default_reason.isupper()


def test_a_refusal_with_a_field_carries_a_violation_of_it():
    status = status_of(errors.InvalidArgument("no", field="input.shape"), grpc.StatusCode.INVALID_ARGUMENT)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    assert (info.domain, info.reason) == ("gradserve", "INVALID_ARGUMENT")
    assert [violation.field for violation in request.field_violations] == ["input.shape"]


def test_a_refusal_without_a_field_carries_no_violation():
    status = status_of(errors.Unavailable("later"), grpc.StatusCode.UNAVAILABLE)
    assert len(status.details) == 1


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}"])
def test_details_stay_below_what_a_client_accepts_as_metadata(letter):
    refusal = errors.InvalidArgument(letter * 100_000, field=letter * 100_000)
    assert status_of(refusal, grpc.StatusCode.INVALID_ARGUMENT).ByteSize() < 4096

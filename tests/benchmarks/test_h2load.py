"""Load by h2load: it sends as many requests as it is told to, and what is not answered well is an error."""

import re

import pytest

from benchmarks.echo import SERVICE
from benchmarks.h2load import Concurrency, Endpoint, ask, drive, grpc_endpoint

pytestmark = pytest.mark.usefixtures("h2load")


def test_a_rate_is_measured(echo):
    assert drive(grpc_endpoint(echo, f"/{SERVICE}/12", b"message"), Concurrency(2, 3), 50) > 1


def test_the_echo_answers_as_many_bytes_as_its_method_says(echo):
    assert len(ask(grpc_endpoint(echo, f"/{SERVICE}/12", b"message"))) == 12


def test_a_server_that_is_not_there_is_an_error():
    with pytest.raises(OSError, match="h2load did not get 5 answers"):
        drive(grpc_endpoint("127.0.0.1:1", "/a/b", b""), Concurrency(1, 1), 5)


def test_a_reply_that_is_no_success_in_http_is_an_error(http_server):
    endpoint = Endpoint(f"http://{http_server}/missing", b"x", (), http1=True)
    with pytest.raises(OSError, match="h2load did not get 3 answers"):
        drive(endpoint, Concurrency(1, 2), 3)


def test_a_message_goes_behind_its_length():
    endpoint = grpc_endpoint("host:1", "/package.Service/Method", b"abc", "application: net")
    assert endpoint.body == b"\0\0\0\0\3abc"
    assert endpoint.url == "http://host:1/package.Service/Method"
    assert re.match("application: net", endpoint.headers[-1])

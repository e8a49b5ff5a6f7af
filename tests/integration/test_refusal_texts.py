"""What refusals say to those who call: nothing of the server's disk, its host, its code or its secrets."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import gradserve
from gradserve_server.checkpoints.names import MANIFEST
from tests.integration import bad_inference, bad_models
from tests.integration.bad_input import method_of
from tests.support.certificates import Authority, tls_flags
from tests.support.methods import METHODS, path_of, request_of
from tests.support.server import start_server
from tests.support.tokens import TokensFile

MARK = "telltale"
"""Part of the path of everything that the server has on its disk."""
DAMAGED = ("damaged-weights", "damaged-manifest")

LEAKS = re.compile(
    r"Traceback|File \"|\.py\b|\.(?:cpp|cc|h)\b|0x[0-9a-f]{6}|site-packages|(?:^|[\s'\"(=:])/[\w.-]+/|-----BEGIN"
    rf"|{MARK}|{re.escape(socket.gethostname())}"
)
"""Traces of Python and C++, absolute paths, keys, and what is on this server's disk."""


@dataclass(frozen=True)
class Place:
    """A server with all its protection on, the way to it, and the token that it asks for."""

    channel: grpc.Channel
    token: str

    def refusal(self, path: str, request: Message, token: str | None) -> list[str]:
        """All that is said to a caller who is refused; nothing if he is not."""
        call = self.channel.stream_stream(path, request_serializer=None, response_deserializer=None)
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        replies = call(iter([request.SerializeToString()]), metadata=metadata, timeout=20)
        try:
            next(replies, None)
        except grpc.RpcError as error:
            return told(error)
        finally:
            replies.cancel()
        return []


def told(error: grpc.RpcError) -> list[str]:
    """Every text of a refusal: the message, the details, and the trailers that are text."""
    status = rpc_status.from_call(error)
    trailers = [value for _, value in error.trailing_metadata() if isinstance(value, str)]
    return [error.details() or "", *trailers, *(text_of(detail) for detail in (status.details if status else ()))]


def text_of(detail: Any) -> str:
    """A detail in words."""
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    (message,) = (kind for kind in (info, request) if detail.Unpack(kind))
    return text_format.MessageToString(message, as_utf8=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """It has the models of bad requests, one whose weights are damaged, and one whose manifest is."""
    folder = tmp_path_factory.mktemp(MARK)
    authority, tokens = Authority.make(folder / "authority"), TokensFile(folder / "tokens.toml")
    data_dir, token = folder / "data", tokens.add("caller")
    flags = [*tls_flags(authority.server()), *tokens.flags]
    with start_server(*flags, data_dir=data_dir) as server:
        with gradserve.Client(server.target, token=token, tls_ca=authority.ca) as client:
            for name in DAMAGED:
                client.create_model(name, gradserve.MLP(4, [], 3))
        server.stop()
    for weights in (data_dir / DAMAGED[0]).glob("*.safetensors"):
        weights.write_bytes(b"damaged")
    (data_dir / DAMAGED[1] / MANIFEST).write_bytes(b"damaged")
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    with (
        start_server(*flags, data_dir=data_dir) as server,
        grpc.secure_channel(server.target, credentials, [("grpc.max_send_message_length", -1)]) as channel,
    ):
        place = Place(channel, token)
        for request in (*bad_inference.MODELS, bad_inference.FREEZE):
            assert not place.refusal(method_of(type(request)), request, token)
        yield place


def leaks(refusals: Iterable[list[str]]) -> list[str]:
    """The texts that tell what they should not; there must be some texts."""
    texts = [text for refusal in refusals for text in refusal]
    assert texts
    return [text for text in texts if LEAKS.search(text)]


def test_bad_requests_are_told_nothing_of_the_server(place: Place):
    rows = (*bad_inference.ROWS, *bad_models.ROWS)
    assert leaks(place.refusal(method_of(type(row.request)), row.request, place.token) for row in rows) == []


@pytest.mark.parametrize("token", [None, "gradserve_wrong"])
def test_who_is_not_let_in_is_told_nothing_of_the_server(place: Place, token: str | None):
    assert leaks(place.refusal(path_of(method), request_of(method, "digits"), token) for method in METHODS) == []


@pytest.mark.parametrize("model", [*DAMAGED, "absent", "../../etc/passwd"])
def test_calls_about_what_is_damaged_or_absent_are_told_nothing_of_the_server(place: Place, model: str):
    methods = (method for method in METHODS if not method.endswith("DeleteModel"))
    assert leaks(place.refusal(path_of(method), request_of(method, model), place.token) for method in methods) == []


@pytest.mark.parametrize("text", ["see /etc/passwd", "'/srv/x.safetensors'", "Traceback (most", "at model.py", "/a/b"])
def test_a_text_that_told_something_would_be_found(text: str):
    assert leaks([[text]]) == [text]

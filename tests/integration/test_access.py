"""Every call with every kind of token, over every kind of connection: who is let in, and who is refused how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import grpc
import numpy as np
import pytest
from grpc_status import rpc_status

import gradserve
from gradserve.v1 import model_pb2, model_pb2_grpc
from gradserve_server.security.rules import RULES
from tests.integration.bad_input import reason_of
from tests.support.certificates import Authority, Issued, tls_flags
from tests.support.either_client import either_client
from tests.support.methods import METHODS, path_of, request_of
from tests.support.server import start_server
from tests.support.tokens import ALL, TokensFile

ABSENT = "absent"
"""A model that is not there: who is let through is told so, or that his request is not whole, and changes nothing."""

Outcome = tuple[grpc.StatusCode, str]
"""The status of a call and the reason of its refusal, empty where it was not refused."""

REFUSALS: dict[str, Outcome] = {
    "no token": (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REQUIRED"),
    "a wrong token": (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"),
    "a token without the right": (grpc.StatusCode.PERMISSION_DENIED, "RIGHT_MISSING"),
    "a token for other models": (grpc.StatusCode.PERMISSION_DENIED, "MODEL_DENIED"),
}
KINDS = (*REFUSALS, "the right token")


@dataclass(frozen=True)
class Place:
    """A server that asks for tokens, the way to it, and the tokens.

    Attributes:
        target: Where it is.
        credentials: Those of a channel to it; None for a connection in clear.
        texts: Tokens by name: one for all, one for some models, one for none of them, and one without each right.
    """

    target: str
    credentials: grpc.ChannelCredentials | None
    texts: dict[str, str]

    def channel(self) -> grpc.Channel:
        """Opens a connection."""
        if self.credentials is None:
            return grpc.insecure_channel(self.target)
        return grpc.secure_channel(self.target, self.credentials)

    def authorization(self, token: str | None) -> tuple[tuple[str, str], ...]:
        """The metadata of a call that brings the token of a name, or none."""
        return () if token is None else (("authorization", f"Bearer {self.texts[token]}"),)


def made_tokens(file: TokensFile) -> dict[str, str]:
    """Fills a file of tokens, and gives their texts."""
    texts = {"all": file.add("all"), "elsewhere": file.add("elsewhere", models=["other-*"])}
    texts["some"] = file.add("some", models=["digits", "mlp-*"])
    texts["wrong"] = "gradserve_wrong"
    texts["without-None"] = file.add("without-None", rights=["forward"])
    for right in ALL:
        name = f"without-{right}".replace(":", "-")
        texts[name] = file.add(name, rights=[other for other in ALL if other != right])
    return texts


def credentials(trusted: Authority, own: Issued | None = None) -> grpc.ChannelCredentials:
    """Those of a client that trusts an authority, and may have a certificate of its own."""
    ca = trusted.ca.read_bytes()
    return grpc.ssl_channel_credentials(ca, *((own.key.read_bytes(), own.certificate.read_bytes()) if own else ()))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["plain", "TLS", "mTLS"])
def place(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    tokens = TokensFile(tmp_path_factory.mktemp("tokens") / "tokens.toml")
    texts = made_tokens(tokens)
    flags, shown = {
        "plain": ([], None),
        "TLS": (tls_flags(authority.server()), credentials(authority)),
        "mTLS": (
            tls_flags(authority.server(), authority.ca),
            credentials(authority, authority.client("sampler")),
        ),
    }[request.param]
    with start_server("--examples", *flags, *tokens.flags) as server:
        yield Place(server.target, shown, texts)
        assert "Traceback" not in server.log()
        assert not [text for text in texts.values() if text in server.log()]


def outcome(place: Place, method: str, kind: str) -> Outcome:
    """How a call ends, or begins if it does not end."""
    with place.channel() as channel:
        call = channel.stream_stream(path_of(method), request_serializer=None, response_deserializer=None)
        requests = iter([request_of(method, ABSENT).SerializeToString()])
        replies = call(requests, metadata=place.authorization(token_of(method, kind)), timeout=20)
        try:
            next(replies, None)
        except grpc.RpcError as error:
            # A refusal within gRPC has no details.
            return error.code(), reason_of(error) if rpc_status.from_call(error) else ""
        finally:
            replies.cancel()
    return grpc.StatusCode.OK, ""


def token_of(method: str, kind: str) -> str | None:
    """The name of a token of some kind, for a method."""
    return {
        "no token": None,
        "a wrong token": "wrong",
        "a token without the right": f"without-{RULES[method].right}".replace(":", "-"),
        "a token for other models": "elsewhere",
        "the right token": "all",
    }[kind]


def is_refused(method: str, kind: str) -> bool:
    """Whether the rules refuse a call."""
    rule = RULES[method]
    needed = {
        "a token without the right": rule.right is not None,
        "a token for other models": bool(rule.model),
        "the right token": False,
    }
    return rule.token and needed.get(kind, True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_call_is_let_through_if_and_only_if_its_rule_allows_it(place: Place, method: str, kind: str):
    met = outcome(place, method, kind)
    if is_refused(method, kind):
        assert met == REFUSALS[kind]
    else:
        assert met[1] not in {reason for _, reason in REFUSALS.values()}
        assert met[0] in {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}


@pytest.mark.parametrize("shows", ["no certificate", "another authority's certificate"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["mTLS"], indirect=True)
def test_without_a_certificate_of_its_authority_nobody_reaches_a_server_with_mtls_whatever_his_token(
    place: Place, authority: Authority, stranger: Issued, method: str, kind: str, shows: str
):
    shown = credentials(authority, stranger if shows != "no certificate" else None)
    assert outcome(replace(place, credentials=shown), method, kind) == (grpc.StatusCode.UNAVAILABLE, "")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return Authority.make(tmp_path_factory.mktemp("stranger")).client("sampler")


@pytest.fixture
def connect(place: Place, authority: Authority) -> Iterator[Callable[[str], gradserve.Client]]:
    """Makes clients with the token of a name, and with a certificate where one is asked for."""
    own = authority.client("caller")
    tls = {} if place.credentials is None else {"tls_ca": authority.ca, "tls_certificate": (own.certificate, own.key)}
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(gradserve.Client(place.target, token=place.texts[name], **tls))


@either_client
def test_the_client_computes_and_streams_with_its_token(connect: Callable[[str], gradserve.Client]):
    client = connect("all")
    assert client.model("logistic-regression")([[0.0]]) == 0.5
    digits = client.model("digits")
    assert digits.load_state_dict(digits.state_dict()).version > 1


@either_client
def test_a_list_of_models_holds_those_that_the_token_is_for(connect: Callable[[str], gradserve.Client]):
    listed = {name: [model.name for model in connect(name).list_models()] for name in ("all", "some", "elsewhere")}
    assert listed == {
        "all": ["digits", "logistic-regression", "mlp-50-30-20-3"],
        "some": ["digits", "mlp-50-30-20-3"],
        "elsewhere": [],
    }


def test_pages_of_a_list_tell_of_no_other_models(place: Place):
    pages, page_token = [], ""
    with place.channel() as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        while not pages or page_token:
            request = model_pb2.ListModelsRequest(page_size=1, page_token=page_token)
            reply = stub.ListModels(request, metadata=place.authorization("some"), timeout=20)
            page_token = reply.next_page_token
            pages.append([model.name for model in reply.models])
    assert pages == [["digits"], ["mlp-50-30-20-3"]]


@either_client
def test_a_refusal_does_not_tell_whether_there_is_such_a_model(connect: Callable[[str], gradserve.Client]):
    told = []
    for model in ("digits", ABSENT):
        with pytest.raises(gradserve.PermissionDeniedError) as caught:
            connect("elsewhere").model(model).info()
        told.append((str(caught.value), caught.value.reason, caught.value.field_violations))
    assert told[0] == told[1]


@pytest.mark.parametrize("right", ALL)
@either_client
def test_a_refusal_names_the_right_that_is_missing(connect: Callable[[str], gradserve.Client], right: str):
    client = connect(f"without-{right}".replace(":", "-"))
    needs = {
        "forward": lambda: client.model("digits").forward(np.zeros(64)),
        "gradient": lambda: client.model("digits").gradient(np.zeros(64), loss="sum"),
        "weights:read": lambda: client.model("digits").state_dict(),
        "weights:write": lambda: client.model("digits").save_checkpoint("v"),
        "models:write": lambda: client.delete_model("digits"),
    }
    with pytest.raises(gradserve.PermissionDeniedError, match=f"^the token does not have the right {right}$"):
        needs[right]()

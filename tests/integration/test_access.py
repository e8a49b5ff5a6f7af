"""Every call with every kind of token, over every kind of connection: who is let in, and who is refused how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

import gradserve
from gradserve.v1 import inference_pb2, model_pb2, state_pb2
from gradserve_server.security.rules import RULES
from tests.integration.bad_input import reason_of
from tests.support.certificates import Authority, Issued, tls_flags
from tests.support.server import start_server
from tests.support.tokens import ALL, TokensFile

SERVICES = (
    inference_pb2.DESCRIPTOR.services_by_name["InferenceService"],
    model_pb2.DESCRIPTOR.services_by_name["ModelService"],
    state_pb2.DESCRIPTOR.services_by_name["StateService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
METHODS = {method.full_name: method for service in SERVICES for method in service.methods}
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
        texts: A token with all rights, one for other models, and one without each right, by name.
    """

    target: str
    credentials: grpc.ChannelCredentials | None
    texts: dict[str, str]

    def channel(self) -> grpc.Channel:
        """Opens a connection."""
        if self.credentials is None:
            return grpc.insecure_channel(self.target)
        return grpc.secure_channel(self.target, self.credentials)

    def authorization(self, method: str, kind: str) -> tuple[tuple[str, str], ...]:
        """The metadata of a call that brings a token of some kind."""
        if kind == "no token":
            return ()
        names = {
            "a token without the right": f"without-{RULES[method].right}".replace(":", "-"),
            "a token for other models": "elsewhere",
            "the right token": "all",
        }
        text = "gradserve_wrong" if kind == "a wrong token" else self.texts[names[kind]]
        return (("authorization", f"Bearer {text}"),)


def made_tokens(file: TokensFile) -> dict[str, str]:
    """Fills a file of tokens, and gives their texts."""
    texts = {"all": file.add("all"), "elsewhere": file.add("elsewhere", models=["other-*"])}
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


def request_of(method: str) -> Message:
    """A request of a method, which names a model that is not there where it names one."""
    message = GetMessageClass(METHODS[method].input_type)()
    *path, field = RULES[method].model.split(".")
    if field:
        setattr(reduce(getattr, path, message), field, ABSENT)
    return message


def outcome(place: Place, method: str, kind: str) -> Outcome:
    """How a call ends, or begins if it does not end."""
    service, _, name = method.rpartition(".")
    with place.channel() as channel:
        call = channel.stream_stream(f"/{service}/{name}", request_serializer=None, response_deserializer=None)
        requests = iter([request_of(method).SerializeToString()])
        replies = call(requests, metadata=place.authorization(method, kind), timeout=20)
        try:
            next(replies, None)
        except grpc.RpcError as error:
            # A refusal within gRPC has no details.
            return error.code(), reason_of(error) if rpc_status.from_call(error) else ""
        finally:
            replies.cancel()
    return grpc.StatusCode.OK, ""


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
@pytest.mark.parametrize("method", METHODS)
def test_without_a_certificate_of_its_authority_nobody_reaches_a_server_with_mtls(
    mtls_target: str, authority: Authority, stranger: Authority, method: str, shows: str
):
    own = None if shows == "no certificate" else stranger.client("sampler")
    place = Place(mtls_target, credentials(authority, own), {"all": "whatever"})
    assert outcome(place, method, "the right token") == (grpc.StatusCode.UNAVAILABLE, "")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def mtls_target(authority: Authority) -> Iterator[str]:
    with start_server("--examples", *tls_flags(authority.server(), authority.ca)) as server:
        yield server.target


def test_the_client_and_its_token_reach_a_server_with_mtls(place: Place, authority: Authority):
    own = authority.client("caller")
    with gradserve.Client(
        place.target,
        token=place.texts["all"],
        tls_ca=None if place.credentials is None else authority.ca,
        tls_certificate=None if place.credentials is None else (own.certificate, own.key),
    ) as client:
        assert client.model("logistic-regression")([[0.0]]) == 0.5
        client.model("digits").state_dict()

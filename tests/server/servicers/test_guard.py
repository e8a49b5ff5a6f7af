"""Whose call it is: seen from a servicer behind the guard of a real gRPC server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from gradserve.v1 import model_pb2, model_pb2_grpc
from gradserve_server.config import ServerConfig
from gradserve_server.credentials import server_credentials
from gradserve_server.metrics import Metrics
from gradserve_server.rpc import Context, handlers
from gradserve_server.security.protection import Protection
from gradserve_server.servicers.guard import Guard
from tests.support.certificates import Authority
from tests.support.tokens import TokensFile

SERVICE = model_pb2.DESCRIPTOR.services_by_name["ModelService"]


class TellingServicer(model_pb2_grpc.ModelServiceServicer):
    """Tells each caller who he is, also from a task of its own."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def GetServerInfo(  # noqa: N802 - the RPC's name
        self, _request: model_pb2.GetServerInfoRequest, context: Context
    ) -> model_pb2.GetServerInfoResponse:
        async def identity() -> str:
            return self._guard.identity(context)

        here, there = self._guard.identity(context), await asyncio.create_task(identity())
        assert here == there
        return model_pb2.GetServerInfoResponse(version=here)


async def identity(config: ServerConfig, credentials: grpc.ChannelCredentials | None, token: str | None) -> str:
    """Who a server takes a caller for."""
    protection = Protection.of(config)
    guard = Guard(protection.tokens, client_certificates=config.tls_client_ca is not None)
    server = grpc.aio.server()
    servicer = guard.guarded(SERVICE, TellingServicer(guard))
    server.add_generic_rpc_handlers((guard.listening(handlers(SERVICE, servicer, Metrics())),))
    if protection.certificates is None or credentials is None:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    else:
        port = server.add_secure_port("127.0.0.1:0", server_credentials(protection.certificates))
        channel = grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials)
    await server.start()
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    call = model_pb2_grpc.ModelServiceStub(channel).GetServerInfo
    try:
        reply = await call(model_pb2.GetServerInfoRequest(), metadata=metadata, timeout=20)
    finally:
        await channel.close()
        await server.stop(0)
    return reply.version


@pytest.fixture
def mtls(tmp_path: Path) -> tuple[dict[str, str], grpc.ChannelCredentials]:
    """The settings of a server with mTLS, and the credentials of the client named caller."""
    authority = Authority.make(tmp_path / "authority")
    own, caller = authority.server(), authority.client("caller")
    settings = {
        "tls_certificate": str(own.certificate),
        "tls_key": str(own.key),
        "tls_client_ca": str(authority.ca),
    }
    shown = (authority.ca, caller.key, caller.certificate)
    return settings, grpc.ssl_channel_credentials(*(file.read_bytes() for file in shown))


def test_a_caller_with_a_token_is_called_by_its_name(tmp_path: Path, mtls: tuple):
    tokens = TokensFile(tmp_path / "tokens.toml")
    text = tokens.add("sampler")
    settings, credentials = mtls
    config = ServerConfig(tokens_file=str(tokens.path), **settings)
    assert asyncio.run(identity(config, credentials, text)) == "sampler"


def test_a_caller_without_a_token_is_called_by_the_subject_of_his_certificate(mtls: tuple):
    settings, credentials = mtls
    assert asyncio.run(identity(ServerConfig(**settings), credentials, None)).startswith("CN=caller,")


def test_a_token_that_a_server_does_not_ask_for_is_no_name():
    assert asyncio.run(identity(ServerConfig(), None, "sampler")).startswith("ipv4:127.0.0.1:")


def test_a_caller_with_neither_is_called_by_his_address():
    assert asyncio.run(identity(ServerConfig(), None, None)).startswith("ipv4:127.0.0.1:")

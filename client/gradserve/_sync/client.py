# Written by client/generate.py from gradserve/_async/client.py: edit that, and run `make sync`.
"""The way in: a client of one server."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self

from gradserve import _model_requests, _options, _replies
from gradserve._architecture import Architecture
from gradserve._errors import DeadlineExceededError
from gradserve._model_requests import DeviceLike, DTypeLike
from gradserve._options import UNSET, CallOptions, Timeout
from gradserve._results import ModelInfo, ServerInfo
from gradserve._sync.caller import Caller
from gradserve._sync.model import Model
from gradserve._threads.connection import Connection
from gradserve._tls import FilePath, Tls
from gradserve.v1 import model_pb2


class Client:
    """Calls a Gradserve server.

    A `Client` serves any number of threads. An `AsyncClient` has the same methods, to be awaited, and serves any number
    of tasks of one event loop: the one that runs where it is made. Either is best kept for as long as calls are made.
    gRPC does not survive a fork: a forked process makes a client of its own. Every method takes `timeout=` seconds for
    that call (None for no limit), retries included, and raises an `Error` where the call fails. Cancelling a task that
    awaits a call cancels the call.

    Calls that change nothing are tried up to five times while the server cannot be reached or says that it is full.
    So are loads of weights, whose request id lets the server do them once. Other calls that change something are sent
    once.
    """

    def __init__(  # noqa: PLR0913 - as many as there are options
        self,
        target: str | None = None,
        *,
        timeout: Timeout = UNSET,
        token: str | None = None,
        tls_ca: FilePath | None = None,
        tls_certificate: tuple[FilePath, FilePath] | None = None,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        max_message_bytes: int = _options.DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        """Make a client; it connects at its first call.

        Args:
            target: The server's address as gRPC takes it. Default: GRADSERVE_TARGET, else "localhost:50051".
            timeout: Seconds that a call may take; None for no limit. Default: GRADSERVE_TIMEOUT, else 10.
            token: What to show the server as the caller's right. Default: GRADSERVE_TOKEN, else none.
            tls_ca: A file of PEM certificates to trust. Default: GRADSERVE_TLS_CA, else no TLS.
            tls_certificate: The PEM files of a certificate, to tell the server who calls, and of its private key.
                Default: GRADSERVE_TLS_CERTIFICATE and GRADSERVE_TLS_KEY, else none.
            metadata: Pairs to send with every call.
            max_message_bytes: The largest message to send or receive; the server has a limit of its own.

        Raises:
            ValueError: The timeout is not positive, a token would leave this host without TLS, or there is a
                certificate without its key or without `tls_ca`.
            OSError: A file of certificates cannot be read.
            RuntimeError: No event loop runs, and an `AsyncClient` needs one.
        """
        tls = Tls.find(tls_ca, tls_certificate, os.environ)
        channel = _options.channel_options(
            target, token=token, tls=tls, max_message_bytes=max_message_bytes, environ=os.environ
        )
        calls = CallOptions(_options.default_timeout(timeout, os.environ), tuple(metadata))
        self._caller = Caller(Connection(channel), calls)

    def with_options(
        self, *, timeout: Timeout = UNSET, metadata: Iterable[tuple[str, str | bytes]] | None = None
    ) -> Self:
        """Return a client with other options over the same connection; closing either closes both.

        Args:
            timeout: As in the constructor. Default: as it is.
            metadata: Pairs to send with every call, instead of those so far. Default: as it is.
        """
        options = self._caller.options
        if timeout is not UNSET:
            options = replace(options, timeout=_options.check_timeout(timeout))
        if metadata is not None:
            options = replace(options, metadata=tuple(metadata))
        derived = copy.copy(self)
        derived._caller = Caller(self._caller.connection, options)  # noqa: SLF001 - it is a Client too
        return derived

    def model(self, name: str) -> Model:
        """Return a handle of the model of that name. No call is made."""
        return Model(name, self._caller)

    def create_model(
        self,
        name: str,
        architecture: Architecture,
        *,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
        device: DeviceLike = "auto",
        timeout: Timeout = UNSET,
    ) -> Model:
        """Create a model, with weights drawn as torch's constructors draw them, and return its handle.

        Args:
            name: Of the form `[a-z0-9][a-z0-9._-]{0,127}`, and not taken.
            architecture: What it computes.
            seed: The weights are those that `torch.manual_seed(seed)` and building the same nn.Sequential give.
                Default: the server draws one; `model.info().seed` tells it.
            dtype: Of its parameters; a floating one.
            device: "auto" (the best of the host), "cpu", "cuda", "cuda:<n>" or "mps".
            timeout: Seconds; default: the client's.

        Raises:
            AlreadyExistsError: The name is taken.
            InvalidArgumentError: The name, the dtype or the architecture is not one.
            FailedPreconditionError: The host does not have the device.
            ResourceExhaustedError: The server's limits do not allow it.
        """
        request = _model_requests.create(name, architecture, seed=seed, dtype=dtype, device=device)
        self._caller.call(self._caller.connection.models.CreateModel, request, timeout)
        return self.model(name)

    def list_models(self, *, timeout: Timeout = UNSET) -> list[ModelInfo]:
        """Return all models, by name. The timeout holds for each page of the list."""
        request = model_pb2.ListModelsRequest()
        models: list[ModelInfo] = []
        while True:
            reply = self._caller.call(self._caller.connection.models.ListModels, request, timeout)
            models.extend(map(_replies.model_info, reply.models))
            if not reply.next_page_token:
                return models
            request.page_token = reply.next_page_token

    def delete_model(self, name: str, *, if_version: int | None = None, timeout: Timeout = UNSET) -> int:
        """Delete a model and return the version that it had.

        Args:
            name: The model's name.
            if_version: The version that the model must be at; None for any.
            timeout: Seconds; default: the client's.

        Raises:
            NotFoundError: There is none of that name.
            AbortedError: It is at another version.
        """
        request = _model_requests.delete(name, if_version=if_version)
        reply = self._caller.call(self._caller.connection.models.DeleteModel, request, timeout)
        return reply.version

    def server_info(self, *, timeout: Timeout = UNSET) -> ServerInfo:
        """Return what the server is: its version, devices, limits, layer types and losses."""
        request = model_pb2.GetServerInfoRequest()
        reply = self._caller.call(self._caller.connection.models.GetServerInfo, request, timeout)
        return _replies.server_info(reply)

    def wait_until_ready(self, timeout: Timeout = UNSET) -> None:
        """Wait until the server can be reached and its health (grpc.health.v1) is SERVING.

        Args:
            timeout: Seconds; None to wait for ever; default: the client's.

        Raises:
            DeadlineExceededError: It was not ready in time.
        """
        # The channel watches the server's health, so that a call that waits for the channel waits for the health too.
        connection = self._caller.connection
        request = model_pb2.GetServerInfoRequest()
        try:
            self._caller.call(connection.models.GetServerInfo, request, timeout, wait_for_ready=True)
        except DeadlineExceededError as error:
            message = f"{connection.options.target} was not ready in time"
            raise DeadlineExceededError(message, call_id=error.call_id) from error

    def close(self) -> None:
        """Close the connection, and cancel the calls that run on it; a second time does nothing."""
        self._caller.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        connection = self._caller.connection
        return (
            f"<gradserve.{type(self).__name__} of {connection.options.target}{', closed' if connection.closed else ''}>"
        )

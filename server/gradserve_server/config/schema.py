"""Every option of a server, with its default and its range."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from gradserve_server.config.address import Address

_CLOSED = ConfigDict(extra="forbid")

Count = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
"""A whole number from 1 up."""

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
"""A duration."""

# gRPC counts milliseconds in a signed 32-bit integer, which ends after 24.8 days.
Span = Annotated[Seconds, Field(ge=0.001, le=24 * 86_400)]
"""A duration that gRPC keeps."""

Path = Annotated[str, Field(min_length=1)]
"""Where a file or a folder is, relative to where the server is started."""

Seed = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
"""What `torch.manual_seed` takes, in the wire's range."""


def _is_address(text: str) -> str:
    Address.parse(text)
    return text


def _has_port(text: str) -> str:
    if Address.parse(text).port is None:
        raise ValueError(f"must be HOST:PORT, got {text!r}")
    return text


def _is_model_name(name: str) -> str:
    if name.endswith(".gradient"):
        raise ValueError("must not end in .gradient, which is reserved")
    return name


ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$"), AfterValidator(_is_model_name)]
"""A name that a model can have."""


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class ServerConfig:
    """How the server is reached and how it ends.

    Attributes:
        listen: Where gRPC is served, as `Address` reads it; port 0 has one chosen.
        metrics_listen: Where metrics and HTTP health checks are served, as `Address` reads it, but for Unix sockets;
            port 0 has one chosen. Other machines may reach it: it tells numbers and the names of models.
        allow_insecure: Whether other machines may reach a server that neither encrypts nor asks who calls.
        tls_certificate: A file of the server's certificate chain in PEM; None to speak in clear.
        tls_key: A file of its private key.
        tls_client_ca: A file of the certificates of which one must have signed a client's; None if clients need none.
        tokens_file: A file of the tokens of which each call needs one, as `parse_tokens` reads it; None if none does.
        reflection: Whether gRPC reflection is served.
        drain_delay: How long the server goes on answering after it has said that it stops, in seconds; callers that
            watch its health turn away in this time.
        drain_grace: How long calls in flight may then take, in seconds.
        examples: Whether to serve the bundled models.
    """

    # Before `listen`, whose check looks at these.
    allow_insecure: StrictBool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens_file: Path | None = None
    listen: Annotated[str, AfterValidator(_is_address)] = "127.0.0.1:50051"
    metrics_listen: Annotated[str, AfterValidator(_has_port)] = "127.0.0.1:9464"
    reflection: StrictBool = True
    drain_delay: Seconds = 0.5
    drain_grace: Seconds = 10.0
    examples: StrictBool = False

    @field_validator("listen")
    @classmethod
    def _keep_to_this_machine(cls, listen: str, others: ValidationInfo) -> str:
        if others.data.get("allow_insecure") or Address.parse(listen).is_local:
            return listen
        needed = ("tls_certificate", "tls_key", "tokens_file")
        if missing := [name for name in needed if others.data.get(name) is None]:
            raise ValueError(
                f"must not be {listen!r}: other machines can reach it, and the server has no {', no '.join(missing)}; "
                "set them, listen on 127.0.0.1, [::1] or unix:PATH, or set server.allow_insecure = true"
            )
        return listen

    @model_validator(mode="after")
    def _encrypt_with_a_key(self) -> "ServerConfig":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("must have tls_certificate and tls_key, or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("must have tls_certificate and tls_key where it has tls_client_ca")
        return self


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class ConnectionsConfig:
    """How much of the server a peer can hold, and for how long; durations are in seconds.

    Attributes:
        max_connections: Connections at one time; what comes beyond is closed at once.
        max_concurrent_streams: Calls at one time of one connection; more wait at the client.
        max_metadata_bytes: The metadata of one call; more is refused by gRPC.
        handshake_timeout: How long a new connection may take until it speaks HTTP/2.
        max_idle: How long a connection may be without a call.
        max_age: How long a connection takes new calls; gRPC varies it by a tenth, so that not all end together.
        max_age_grace: How long its calls may then go on.
        keepalive_time: After how much silence the server asks whether the client is still there.
        keepalive_timeout: How long it waits for that answer.
    """

    max_connections: Annotated[Count, Field(le=2**31 - 1)] = 512
    max_concurrent_streams: Annotated[Count, Field(le=2**31 - 1)] = 1024
    max_metadata_bytes: Annotated[Count, Field(ge=1024, le=1024**2)] = 16_384
    handshake_timeout: Span = 20.0
    max_idle: Span = 600.0
    max_age: Span = 3600.0
    max_age_grace: Span = 3600.0
    keepalive_time: Span = 60.0
    keepalive_timeout: Span = 20.0


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class StoreConfig:
    """What the server keeps on disk.

    Attributes:
        data_dir: The folder of models and checkpoints; made if it is not there, used by one server at a time.
        ephemeral: Whether to keep nothing on disk instead.
        automatic_checkpoints: How many of the checkpoints that loads make by themselves are kept for each model.
    """

    data_dir: Path = "gradserve-data"
    ephemeral: StrictBool = False
    automatic_checkpoints: Annotated[int, Field(strict=True, ge=0, le=1000)] = 5


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class ComputeConfig:
    """How models compute.

    Attributes:
        threads: The threads within one operation on the CPU, as `torch.set_num_threads`.
    """

    threads: Annotated[Count, Field(le=1024)] = 1


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class BatchingConfig:
    """How the requests to one model wait for its device, and are computed together.

    Attributes:
        max_batch_rows: The most rows that are computed together; a single request may have more.
        max_queue_delay: How long a request waits for others while the device is free, in seconds.
        max_queue_rows: The most rows that wait; what comes beyond is refused.
        max_queue_bytes: The most bytes of requests that wait.
        max_deadline: How long a request may wait that has no deadline or a later one, in seconds.
        busy_poll: How long the server stays awake for the next request of a caller who is alone and comes again as soon
            as he is answered, in seconds; 0 for not at all. It does not where it may use less than two processors.
    """

    max_batch_rows: Count = 256
    max_queue_delay: Annotated[Seconds, Field(le=60)] = 0.0
    max_queue_rows: Count = 65_536
    max_queue_bytes: Count = 256 * 1024**2
    max_deadline: Annotated[Seconds, Field(gt=0)] = 60.0
    busy_poll: Annotated[Seconds, Field(le=0.1)] = 0.001


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class Limits:
    """What the server refuses to exceed.

    Attributes:
        max_message_bytes: One message, either way.
        max_rows: Rows (elements of all but the last dimension) of one input.
        max_elements: Elements of an input, an output, or anything computed between.
        max_parameters: Parameter elements of one model.
        max_layers: Layers of one model.
        max_models: Models.
        min_upload_bytes_per_second: How fast weights that are sent must come, beyond the 30 seconds for which each part
            is waited for.
        max_stream_requests: Requests of one stream that are read and unanswered.
    """

    # gRPC holds a message's size in a signed 32-bit integer.
    max_message_bytes: Annotated[Count, Field(ge=65_536, le=2**31 - 1)] = 64 * 1024**2
    max_rows: Count = 1_048_576
    max_elements: Count = 2**27
    max_parameters: Count = 2**28
    max_layers: Count = 256
    max_models: Count = 1024
    min_upload_bytes_per_second: Count = 65_536
    max_stream_requests: Count = 256


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class LogConfig:
    """What the server writes to standard error, beside what must be known in any case.

    Attributes:
        format: "console" for a line to read, "json" for an object a line.
        level: The least that is written. Changes of models are, whatever it is.
        requests: Whether each call is written, not only at the level "debug".
    """

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"
    requests: StrictBool = False

    @property
    def writes_requests(self) -> bool:
        """Whether each call is written."""
        return self.requests or self.level == "debug"


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class ModelConfig:
    """A model to create at start: by its widths, or layer by layer.

    Attributes:
        in_features: The width of the input.
        hidden_features: The width of each hidden layer, first to last.
        out_features: The width of the output.
        activation: The class name, in torch.nn, of the activation after each hidden layer.
        layers: Instead of the four above: tables of a `type` and its constructor's arguments, by torch.nn's names.
            They are checked where the model is built.
        dtype: Of its parameters.
        device: "auto" for the best of the host, "cpu", "cuda", "cuda:<n>" or "mps".
        seed: What its weights are drawn from; None to have one drawn.
    """

    in_features: Count | None = None
    hidden_features: tuple[Count, ...] = ()
    out_features: Count | None = None
    activation: str = "ReLU"
    layers: tuple[Mapping[str, object], ...] = ()
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?|mps)$")] = "auto"
    seed: Seed | None = None

    @model_validator(mode="after")
    def _take_widths_or_layers(self) -> "ModelConfig":
        widths = (self.in_features, self.out_features)
        if self.layers and (any(widths) or self.hidden_features or self.activation != "ReLU"):
            raise ValueError("takes either layers, or in_features, hidden_features, out_features and activation")
        if not self.layers and not all(widths):
            raise ValueError("needs in_features and out_features, or layers")
        return self


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class Config:
    """All of it.

    Attributes:
        server: How the server is reached and how it ends.
        connections: How much of it a peer can hold.
        store: What the server keeps on disk.
        compute: How models compute.
        batching: How requests wait and are computed together.
        limits: What the server refuses to exceed.
        log: What it writes to standard error.
        models: The models to create at start, by name.
    """

    server: ServerConfig = ServerConfig()
    connections: ConnectionsConfig = ConnectionsConfig()
    store: StoreConfig = StoreConfig()
    compute: ComputeConfig = ComputeConfig()
    batching: BatchingConfig = BatchingConfig()
    limits: Limits = Limits()
    log: LogConfig = LogConfig()
    models: Mapping[ModelName, ModelConfig] = Field(default_factory=dict)

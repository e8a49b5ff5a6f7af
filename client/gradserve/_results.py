"""What calls return: plain, frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gradserve._architecture import Sequential
from gradserve._arrays import Array


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One entry of a model's `named_parameters()`."""

    name: str
    """The name, such as "layers.0.weight"."""
    shape: tuple[int, ...]
    """The size of each dimension."""
    dtype: str
    """The element type, such as "float32"."""
    requires_grad: bool
    """Whether gradients flow to it by default; globs in `wrt` skip it otherwise."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as the server holds it.

    Of one whose record on the server's disk is damaged nothing is known but the name, and `state_reason` says so: what
    else is here is then empty, 0 or false, and the time that of the epoch.
    """

    name: str
    """The name."""
    architecture: Sequential
    """The layers, with every argument that was given or implied."""
    dtype: str
    """The element type of parameters and buffers, such as "float32"."""
    device: str
    """Where the weights are, as torch prints it: "cpu", "cuda:0" or "mps"."""
    version: int
    """The version of the weights: 1 at creation, one more at each accepted change of weights or dtype."""
    total_parameters: int
    """The number of parameter elements."""
    trainable_parameters: int
    """The number of parameter elements that require grad."""
    named_parameters: tuple[ParameterInfo, ...]
    """The parameters, in torch's order."""
    text: str
    """The text of `print(model)`."""
    supported_operations: tuple[str, ...]
    """The calls that this model can answer, such as "Forward" and "Gradient"."""
    serving: bool
    """Whether the model answers requests."""
    state_reason: str
    """Why it does not; empty while it does."""
    create_time: datetime
    """When the model was created, in UTC."""
    seed: int | None
    """The seed that the initial weights were drawn from; None where they came from a file."""
    unsaved: bool
    """Whether the live weights would be gone if the server stopped now."""


class StateDict(dict[str, Array]):
    """A model's weights by name, as torch's `state_dict()`: numpy arrays, which may be written to.

    All arrays share one piece of memory, which lives as long as any of them.

    Attributes:
        version: The version of the weights.
    """

    def __init__(self, arrays: Mapping[str, Array], version: int) -> None:
        super().__init__(arrays)
        self.version = version


@dataclass(frozen=True, slots=True)
class LoadedStateDict:
    """What loading weights came to."""

    version: int
    """The version of the weights now."""
    missing_keys: tuple[str, ...]
    """Keys that the model has and the state_dict lacks; empty with `strict`."""
    unexpected_keys: tuple[str, ...]
    """Keys that the state_dict has and the model lacks; empty with `strict`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A snapshot of a model's weights on the server, never changed."""

    name: str
    """The name."""
    version: int
    """The version that the weights had."""
    create_time: datetime
    """When it was saved, in UTC."""
    size_bytes: int
    """The size of its file."""
    sha256: str
    """The SHA-256 of its file, in hexadecimal digits."""
    metadata: Mapping[str, str] = field(hash=False)
    """What was noted with it."""
    automatic: bool
    """Whether the server made it by itself when weights were loaded; the oldest of these are dropped in time."""
    live: bool
    """Whether the live weights are those of this checkpoint."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the server's host."""

    name: str
    """The name to give as `device`, such as "cpu" or "cuda:0"."""
    description: str
    """What it is, such as the GPU's product name."""
    memory_bytes: int
    """Its memory in bytes; 0 where torch does not tell."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server refuses to exceed."""

    max_message_bytes: int
    """The largest message in bytes, both ways."""
    max_rows: int
    """The most rows (elements of all but the last dimension) of one input."""
    max_elements: int
    """The most elements of an input, an output, or anything computed between."""
    max_parameters: int
    """The most parameter elements of one model."""
    max_layers: int
    """The most layers of one model."""
    max_models: int
    """The most models."""
    min_upload_bytes_per_second: int
    """How fast the bytes of weights that are loaded must come, beyond 30 seconds of patience."""
    max_stream_requests: int
    """The most requests of one stream that the server reads before it has answered one of them."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server: its version, its devices, its limits, and what it knows."""

    version: str
    """Gradserve's version."""
    torch_version: str
    """The version of torch that computes."""
    devices: tuple[Device, ...]
    """The devices of the host, the one that "auto" means first."""
    num_threads: int
    """The threads within one operation on the CPU."""
    limits: Limits
    """What the server refuses to exceed."""
    metrics_address: str
    """Where Prometheus metrics are served, as "host:port"; empty where they are not."""
    layer_types: tuple[str, ...]
    """The layer types that an architecture may hold, sorted."""
    losses: tuple[str, ...]
    """The losses that `gradient` takes, sorted."""

"""What the store knows of one model: what it is, where its live weights are, and its checkpoints."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.dataclasses import dataclass

from gradserve_server.architecture import Layer
from gradserve_server.checkpoints.names import NAME, WEIGHTS_PATTERN

_CLOSED = ConfigDict(extra="forbid")

Sha256 = Annotated[
    bytes,
    BeforeValidator(lambda value: bytes.fromhex(value) if isinstance(value, str) else value),
    PlainSerializer(bytes.hex, when_used="json"),
    Field(min_length=32, max_length=32),
]
"""32 bytes; hexadecimal on disk."""

Version = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""The version of some weights, from 1 up; 0 where there were none yet."""


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class WeightsFile:
    """A safetensors file, never changed, in the model's folder: only the store makes these.

    Attributes:
        file: Its name there.
        size_bytes: Its size.
        sha256: Of all its bytes.
    """

    file: Annotated[str, Field(pattern=WEIGHTS_PATTERN)]
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class Checkpoint:
    """A snapshot of a model's weights under a name. Several may share a file, with each other and with the live model.

    Attributes:
        name: Unique within the model.
        version: The version that the weights had.
        create_time: When it was saved.
        layers: The architecture that the weights belong to.
        weights: Where they are.
        metadata: What the caller noted.
        automatic: Whether the server made it by itself.
    """

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    version: Version
    create_time: AwareDatetime
    layers: tuple[Layer, ...]
    weights: WeightsFile
    metadata: Mapping[str, str] = Field(default_factory=dict)
    automatic: bool = False


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class StoredModel:
    """A model as it is to be served again after a restart.

    Attributes:
        version: Of the live weights.
        version_time: When they were accepted.
        layers: Its architecture, every argument spelled out.
        dtype: Of its parameters.
        device: Where it was.
        requires_grad: The flag of each parameter.
        create_time: When it was created.
        seed: What its initial weights were drawn from; None where they came from a file.
        weights: The live weights.
    """

    version: Version
    version_time: AwareDatetime
    layers: tuple[Layer, ...]
    dtype: str
    device: str
    requires_grad: Mapping[str, bool]
    create_time: AwareDatetime
    seed: int | None
    weights: WeightsFile


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class AcceptedLoad:
    """A LoadStateDict that was accepted, so that a retry of it gets the same reply, also after a restart.

    Attributes:
        request_id: What the caller called it.
        sha256: Of the bytes that it sent.
        version: The version that the weights got.
        missing_keys: As in the reply.
        unexpected_keys: As in the reply.
    """

    request_id: str
    sha256: Sha256
    version: Version
    missing_keys: tuple[str, ...] = ()
    unexpected_keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class Manifest:
    """All that is kept of one name.

    Attributes:
        last_version: The highest version that anybody was told; a model created anew goes on above it.
        model: The model; None once it is deleted.
        checkpoints: Its checkpoints, the oldest first.
        loads: The latest accepted loads that had a request_id, the oldest first.
    """

    last_version: Version
    model: StoredModel | None
    checkpoints: tuple[Checkpoint, ...] = ()
    loads: tuple[AcceptedLoad, ...] = ()

    @model_validator(mode="after")
    def _name_each_checkpoint_once(self) -> "Manifest":
        names = [checkpoint.name for checkpoint in self.checkpoints]
        if len(set(names)) < len(names):
            raise ValueError("two checkpoints have one name")
        return self

    @property
    def files(self) -> frozenset[str]:
        """The names of the files of weights that must be kept."""
        live = () if self.model is None else (self.model,)
        return frozenset(holder.weights.file for holder in (*live, *self.checkpoints))

    def checkpoint(self, name: str) -> Checkpoint | None:
        """The checkpoint of a name, if there is one."""
        return next((checkpoint for checkpoint in self.checkpoints if checkpoint.name == name), None)


def retained(checkpoints: tuple[Checkpoint, ...], automatic: int) -> tuple[Checkpoint, ...]:
    """The checkpoints to keep: each that a caller named, and so many of the automatic ones, the newest."""
    made_by_server = [checkpoint for checkpoint in checkpoints if checkpoint.automatic]
    dropped = {checkpoint.name for checkpoint in made_by_server[: max(0, len(made_by_server) - automatic)]}
    return tuple(checkpoint for checkpoint in checkpoints if checkpoint.name not in dropped)

"""A model under its name: what requests meet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from gradserve_server.checkpoints import names
from gradserve_server.engine.device import Device
from gradserve_server.engine.model import Model
from gradserve_server.errors import Aborted, FailedPrecondition, InvalidArgument, ServiceError
from gradserve_server.gradient_names import SUFFIX


@dataclass(frozen=True, eq=False)
class HostedModel:
    """A model at one version. A change puts another in its place; whoever holds this one computes on it to the end.

    Attributes:
        name: What requests call it.
        version: Of its weights, from 1 up.
        model: Its weights.
        device: Where they are.
        operations: The RPCs that it supports.
        create_time: When it was created, in UTC.
        version_time: When its weights were accepted, in UTC.
        seed: What its initial weights were drawn from; None where they came from a file.
        unsaved: Whether the live weights would be gone if the server stopped now.
        failure: Why it cannot be served; None if it can.
    """

    name: str
    version: int
    model: Model
    device: Device
    operations: tuple[str, ...]
    create_time: datetime
    version_time: datetime
    seed: int | None
    unsaved: bool = False
    failure: ServiceError | None = None

    def check_serving(self) -> None:
        """Refuse what needs the weights.

        Raises:
            ServiceError: If the model could not be restored.
        """
        if self.failure is not None:
            raise self.failure

    def check_read(self, if_version: int | None) -> None:
        """Refuse a read that expects another version.

        Raises:
            FailedPrecondition: If the model is at another version.
        """
        if if_version is not None and if_version != self.version:
            raise FailedPrecondition(self._mismatch(if_version), field="if_version", reason="VERSION_MISMATCH")

    def check_write(self, if_version: int | None) -> None:
        """Refuse a write that expects another version.

        Raises:
            Aborted: If the model is at another version.
        """
        if if_version is not None and if_version != self.version:
            raise Aborted(self._mismatch(if_version), field="if_version")

    def _mismatch(self, if_version: int) -> str:
        return f"{self.name} is at version {self.version}, not {if_version}"


@dataclass(frozen=True, eq=False)
class DamagedModel:
    """A model of which nothing is known but its name, as what was kept of it cannot be read. It can only be deleted.

    Attributes:
        name: What requests call it.
        failure: What is damaged.
        version: 0, as nobody knows it.
    """

    name: str
    failure: ServiceError
    version: int = 0

    def check_write(self, if_version: int | None) -> None:
        """Refuse a deletion that expects a version.

        Raises:
            ServiceError: If it expects any.
        """
        if if_version is not None:
            raise self.failure


AnyModel: TypeAlias = HostedModel | DamagedModel


def check_name(name: str, field_path: str) -> None:
    """Check that a model can have a name.

    Raises:
        InvalidArgument: If it cannot.
    """
    names.check_name(name, field_path)
    if name.endswith(SUFFIX):
        message = f"must not end in {SUFFIX}, which is reserved"
        raise InvalidArgument(message, field=field_path, reason="INVALID_NAME")

"""The models as a repository: what is there, and what RepositoryModelLoad is to load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf import json_format

from gradserve_server.errors import InvalidArgument, Unimplemented
from gradserve_server.hosted import AnyModel
from gradserve_server.open_inference import grpc_service_pb2 as pb
from gradserve_server.open_inference.served import shown_as

_CONFIG: Final = "config"
_CHECKPOINT: Final = "checkpoint"
_LONGEST_CONFIG: Final = 65_536
_FILE: Final = "file:"


def check_repository(name: str) -> None:
    """Check what a request says of the repository.

    Raises:
        Unimplemented: If it names one.
    """
    if name:
        message = "there is one repository, without a name"
        raise Unimplemented(message, field="repository_name", reason="NO_SUCH_EXTENSION")


def index(model: AnyModel) -> Iterator[pb.RepositoryIndexResponse.ModelIndex]:
    """What RepositoryIndex tells of a model."""
    if model.failure is None:
        for shown in shown_as(model):
            yield pb.RepositoryIndexResponse.ModelIndex(name=shown.name, version=str(model.version), state="READY")
        return
    # Nobody knows the version of what cannot be read.
    version = str(model.version) if model.version else ""
    reason = model.failure.text
    yield pb.RepositoryIndexResponse.ModelIndex(name=model.name, version=version, state="UNAVAILABLE", reason=reason)


def checkpoint_of(parameters: Mapping[str, pb.ModelRepositoryParameter]) -> str:
    """The checkpoint that a load names; empty for the weights that are kept.

    Raises:
        InvalidArgument: If it says more than that, or says it in another way.
        Unimplemented: If it brings files.
    """
    for name in parameters:
        if name.startswith(_FILE):
            message = "no file is taken: StateService.LoadStateDict takes weights"
            raise Unimplemented(message, field=f"parameters[{name[:64]}]", reason="NO_SUCH_EXTENSION")
        if name != _CONFIG:
            raise InvalidArgument(f"there is only {_CONFIG}", field=f"parameters[{name[:64]}]")
    if _CONFIG not in parameters:
        return ""
    config = _config(parameters[_CONFIG].string_param)
    set_fields = {descriptor.name for descriptor, _ in config.ListFields()}
    if set_fields != {"parameters"} or set(config.parameters) != {_CHECKPOINT}:
        message = f"may hold nothing but parameters, and these nothing but {_CHECKPOINT}"
        raise InvalidArgument(message, field=f"parameters[{_CONFIG}]")
    return config.parameters[_CHECKPOINT].string_value


def _config(text: str) -> pb.ModelConfig:
    if not text or len(text) > _LONGEST_CONFIG:
        message = f"must be a string_param of at most {_LONGEST_CONFIG} characters"
        raise InvalidArgument(message, field=f"parameters[{_CONFIG}]")
    try:
        return json_format.Parse(text, pb.ModelConfig())
    except json_format.ParseError as error:
        raise InvalidArgument(f"is not a ModelConfig in JSON: {error}", field=f"parameters[{_CONFIG}]") from error

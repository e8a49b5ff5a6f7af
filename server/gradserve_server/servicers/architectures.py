"""Architectures between the wire and the server."""

from __future__ import annotations

from gradserve.v1 import model_pb2
from gradserve_server.architecture import Architecture, Layer, LayerArgument, mlp
from gradserve_server.errors import InvalidArgument


def read_architecture(message: model_pb2.Architecture) -> Architecture:
    """The architecture of a message, the shorthand written out.

    Raises:
        InvalidArgument: If there is none, or a layer's argument has no value.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument("required: sequential or mlp", field="architecture")
    if kind == "sequential":
        return Architecture(tuple(_layer(layer, index) for index, layer in enumerate(message.sequential.layers)))
    shorthand = message.mlp
    hidden = tuple(shorthand.hidden_features)
    return mlp(shorthand.in_features, hidden, shorthand.out_features, shorthand.activation or "ReLU")


def write_architecture(architecture: Architecture) -> model_pb2.Architecture:
    """The message of an architecture, layer by layer."""
    layers = [
        model_pb2.Layer(type=layer.type, arguments={name: _write(value) for name, value in layer.arguments.items()})
        for layer in architecture.layers
    ]
    return model_pb2.Architecture(sequential=model_pb2.Sequential(layers=layers))


def _layer(message: model_pb2.Layer, index: int) -> Layer:
    path = f"architecture.sequential.layers[{index}].arguments"
    return Layer(message.type, {name: _read(value, f"{path}[{name}]") for name, value in message.arguments.items()})


def _read(argument: model_pb2.LayerArgument, path: str) -> LayerArgument:
    kind = argument.WhichOneof("value")
    if kind is None:
        raise InvalidArgument("the argument has no value", field=path)
    if kind == "int_list":
        return tuple(argument.int_list.values)
    value: LayerArgument = getattr(argument, kind)
    return value


def _write(value: LayerArgument) -> model_pb2.LayerArgument:
    # bool first: Python's bool is an int.
    if isinstance(value, bool):
        return model_pb2.LayerArgument(bool_value=value)
    if isinstance(value, int):
        return model_pb2.LayerArgument(int_value=value)
    if isinstance(value, float):
        return model_pb2.LayerArgument(double_value=value)
    if isinstance(value, str):
        return model_pb2.LayerArgument(string_value=value)
    return model_pb2.LayerArgument(int_list=model_pb2.IntList(values=value))

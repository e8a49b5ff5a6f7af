"""Architectures between the wire and the server."""

from __future__ import annotations

from gradserve.v1 import model_pb2
from gradserve_server.architecture import Architecture, Layer, LayerArgument, mlp
from gradserve_server.errors import InvalidArgument, ResourceExhausted

_MOST_ARGUMENTS = 16
_MOST_SIZES = 8


def read_architecture(message: model_pb2.Architecture, max_layers: int) -> Architecture:
    """The architecture of a message, the shorthand written out.

    Raises:
        InvalidArgument: If there is none, or a layer's argument has no value.
        ResourceExhausted: If there are too many layers; none has been looked at then.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument("required: sequential or mlp", field="architecture")
    if kind == "sequential":
        _check_count(len(message.sequential.layers), max_layers, "architecture.sequential")
        return Architecture(tuple(_layer(layer, index) for index, layer in enumerate(message.sequential.layers)))
    shorthand = message.mlp
    _check_count(2 * len(shorthand.hidden_features) + 1, max_layers, "architecture.mlp.hidden_features")
    hidden = tuple(shorthand.hidden_features)
    return mlp(shorthand.in_features, hidden, shorthand.out_features, shorthand.activation or "ReLU")


def write_architecture(architecture: Architecture) -> model_pb2.Architecture:
    """The message of an architecture, layer by layer."""
    layers = [
        model_pb2.Layer(type=layer.type, arguments={name: _write(value) for name, value in layer.arguments.items()})
        for layer in architecture.layers
    ]
    return model_pb2.Architecture(sequential=model_pb2.Sequential(layers=layers))


def _check_count(layers: int, max_layers: int, field: str) -> None:
    if layers > max_layers:
        message = f"the architecture has {layers} layers; this server allows {max_layers}"
        raise ResourceExhausted(message, field=field, reason="TOO_MANY_LAYERS")


def _layer(message: model_pb2.Layer, index: int) -> Layer:
    path = f"architecture.sequential.layers[{index}].arguments"
    if len(message.arguments) > _MOST_ARGUMENTS:
        raise InvalidArgument(f"no layer takes {len(message.arguments)} arguments", field=path)
    return Layer(message.type, {name: _read(value, f"{path}[{name}]") for name, value in message.arguments.items()})


def _read(argument: model_pb2.LayerArgument, path: str) -> LayerArgument:
    kind = argument.WhichOneof("value")
    if kind is None:
        raise InvalidArgument("the argument has no value", field=path)
    if kind == "int_list":
        if len(argument.int_list.values) > _MOST_SIZES:
            raise InvalidArgument(f"has {len(argument.int_list.values)} sizes; at most {_MOST_SIZES}", field=path)
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

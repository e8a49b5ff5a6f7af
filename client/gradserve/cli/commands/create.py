"""The command that creates a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

import gradserve
from gradserve.cli.examples import examples
from gradserve.cli.pages.model_pages import ModelPage
from gradserve.cli.pages.page import show
from gradserve.cli.settings import connect, gathered, server_options
from gradserve.cli.tensors.casting import FLOAT_DTYPES
from gradserve.cli.tensors.source import SourceError, find_source

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["create"]

_EXAMPLES = examples(
    "gradserve create classifier --in 50 --hidden 30,20 --out 3 --seed 123",
    """gradserve create gate --layers '[{"type": "Linear", "in_features": 1, "out_features": 1}, {"type": "Tanh"}]'""",
)


@dataclass(frozen=True)
class _Options:
    """The flags, under the names that click gives them."""

    name: str
    in_features: int | None
    hidden_features: tuple[int, ...] | None
    out_features: int | None
    activation: str | None
    layers: str | None
    seed: int | None
    dtype: str
    device: str


def _widths(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(width) for width in text.split(",")) if text.strip() else ()
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of widths such as 30,20.", context, parameter) from None


@click.command(epilog=_EXAMPLES)
@click.argument("name")
@click.option("--in", "in_features", type=int, metavar="N", help="Width of the input.")
@click.option("--hidden", "hidden_features", callback=_widths, metavar="N,N,...", help="Widths of the hidden layers.")
@click.option("--out", "out_features", type=int, metavar="N", help="Width of the output.")
@click.option("--activation", metavar="CLASS", help="After each hidden layer: a class of torch.nn.  [default: ReLU]")
@click.option("--layers", metavar="FILE.json", help="Instead of the four above: the layers one by one.")
@click.option("--seed", type=int, help="Draw the weights that torch draws after manual_seed(SEED).")
@click.option("--dtype", type=click.Choice(FLOAT_DTYPES), default="float32", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:<n> or mps.")
@server_options
@gathered(_Options)
def create(settings: Settings, options: _Options) -> None:
    """Create the model NAME with random weights.

    --layers takes a list of objects, each with the "type" of a torch.nn class and its constructor's arguments: a file,
    - for standard input, or the JSON itself. `gradserve info NAME --json | jq .layers` prints such a list.
    """
    architecture = _architecture(options)
    with connect(settings) as client:
        model = client.create_model(
            options.name, architecture, seed=options.seed, dtype=options.dtype, device=options.device
        )
        page = ModelPage(model.info())
    show(page, as_json=settings.json)


def _architecture(options: _Options) -> gradserve.MLP | gradserve.Sequential:
    widths = (options.in_features, options.hidden_features, options.out_features, options.activation)
    if options.layers is not None:
        if widths != (None, None, None, None):
            raise click.UsageError("--layers stands instead of --in, --hidden, --out and --activation.")
        return _sequential(options.layers)
    if options.in_features is None or options.out_features is None:
        raise click.UsageError("--in and --out are required, or --layers.")
    hidden_features, activation = options.hidden_features or (), options.activation or "ReLU"
    return gradserve.MLP(options.in_features, hidden_features, options.out_features, activation=activation)


def _sequential(argument: str) -> gradserve.Sequential:
    """Return the layers that `--layers` lists. Which types and arguments there are, the server knows."""
    source = find_source(argument)
    try:
        layers = json.loads(source.data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{source.name}: it is not JSON: {error}") from None
    if not isinstance(layers, list):
        raise SourceError(f"{source.name}: it must be a list of layers")
    return gradserve.Sequential([_layer(layer, f"{source.name}: layer {index}") for index, layer in enumerate(layers)])


def _layer(layer: object, where: str) -> gradserve.Layer:
    if not isinstance(layer, dict) or not isinstance(layer.get("type"), str):
        raise SourceError(f'{where}: it must be an object with a "type", the name of a class of torch.nn')
    for name, value in layer.items():
        is_sizes = isinstance(value, list) and all(type(size) is int for size in value)
        if not is_sizes and not isinstance(value, bool | int | float | str):
            raise SourceError(f"{where}: {name!r} must be a number, a word, true, false or a list of integers")
    return gradserve.Layer(layer["type"], **{name: value for name, value in layer.items() if name != "type"})

"""The command that computes a model's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gradserve.cli.commands.computing import ComputingOptions, computing_options
from gradserve.cli.examples import examples
from gradserve.cli.pages.page import dump, show
from gradserve.cli.pages.tensor_pages import OutputPage, WrittenPage
from gradserve.cli.settings import connect, gathered, server_options
from gradserve.cli.tensors.json_tensor import tensor_document
from gradserve.cli.tensors.reading import read_tensor
from gradserve.cli.tensors.writing import write_tensors

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["forward"]

_EXAMPLES = examples(
    "gradserve forward logistic-regression '[[1.1]]'",
    "gradserve forward digits x.npy -o y.npy",
    "generate | gradserve forward digits - --json",
)


@click.command(epilog=_EXAMPLES, short_help="Compute a model's output.")
@computing_options
@server_options
@gathered(ComputingOptions)
def forward(settings: Settings, options: ComputingOptions) -> None:
    """Compute the output of the model NAME for the input in FILE.

    FILE is .npy, .npz (x.npz:key if it holds several arrays), .csv or .json, - for standard input, or JSON itself.
    Numbers in CSV and JSON are read as float32, and a CSV file as a table [rows, columns]; a first line without numbers
    is a header. Pickle is never read. The output is printed as CSV where standard output is not a terminal.

    With --json, and in a .json FILE, a tensor is {"dtype", "shape", "data"}, and NaN and the infinities are the words
    "NaN", "Infinity" and "-Infinity".
    """
    x = read_tensor(options.file, dtype=options.dtype)
    with connect(settings) as client:
        output = client.model(options.name).forward(
            x,
            training=options.training,
            seed=options.seed,
            if_version=options.if_version,
            deterministic=options.deterministic,
        )
    if options.output is None:
        show(OutputPage(options.name, output), as_json=settings.json)
    else:
        write_tensors(options.output, {"output": output}, lambda: dump(tensor_document(output)))
        show(WrittenPage(str(options.output), {"output": output}), as_json=settings.json)

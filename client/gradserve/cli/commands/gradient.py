"""The command that computes a loss and its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gradserve.cli.commands.computing import ComputingOptions, computing_options, target_place
from gradserve.cli.examples import examples
from gradserve.cli.pages.page import dump, show
from gradserve.cli.pages.tensor_pages import GradientsPage, WrittenPage
from gradserve.cli.pairs import pairs
from gradserve.cli.settings import connect, gathered, server_options
from gradserve.cli.tensors.reading import Place, read_tensor
from gradserve.cli.tensors.source import SourceError, check_stdin
from gradserve.cli.tensors.writing import write_tensors

if TYPE_CHECKING:
    import gradserve
    from gradserve.cli.settings import Settings
    from gradserve.cli.tensors.casting import Array

__all__ = ["gradient"]

_EXAMPLES = examples(
    "gradserve gradient logistic-regression '[[1.1]]' --target '[[1]]' --loss binary_cross_entropy",
    "gradserve gradient digits x.npy --target y.csv --loss cross_entropy --arg label_smoothing=0.1 -o g.npz",
    "gradserve gradient digits x.npy --grad-output v.npy --wrt input --wrt 'layers.0.*'",
)


@dataclass(frozen=True, kw_only=True)
class _Options(ComputingOptions):
    """The flags, under the names that click gives them."""

    target: str | None
    loss: str | None
    reduction: str | None
    arguments: tuple[tuple[str, str], ...]
    grad_output: str | None
    wrt: tuple[str, ...]
    per_sample: bool
    return_output: bool

    def sources(self) -> list[str]:
        """Return every argument that names a tensor."""
        values = [value.removeprefix("@") for _, value in self.arguments if value.startswith("@")]
        return [source for source in (self.file, self.target, self.grad_output, *values) if source is not None]


@click.command(epilog=_EXAMPLES, short_help="Compute a loss and its gradients.")
@computing_options
@click.option("--loss", metavar="NAME", help="A loss of torch.nn.functional, or sum or mean of the output.")
@click.option("--target", metavar="FILE", help="What the loss compares the output with.")
@click.option("--reduction", metavar="NAME", help="mean, sum or none; batchmean for kl_div.  [default: mean]")
@click.option(
    "--arg", "arguments", multiple=True, callback=pairs, metavar="NAME=VALUE", help="Of the loss; repeatable."
)
@click.option("--grad-output", metavar="FILE", help="The vector of a vector-Jacobian product, instead of a loss.")
@click.option("--wrt", multiple=True, metavar="GLOB", help="Parameters, or the word input; repeatable.  [default: all]")
@click.option("--per-sample", is_flag=True, help="One loss and one gradient per row.")
@click.option("--return-output", is_flag=True, help="Give the model's output too.")
@server_options
@gathered(_Options)
def gradient(settings: Settings, options: _Options) -> None:
    """Compute a loss of the model NAME at the input in FILE, and its gradients.

    FILE is as for `gradserve forward`, and so are --target, --grad-output and --arg NAME=@FILE. For a loss that takes
    class ids, whole numbers in a text target are int64, and one CSV column of them is of shape [rows]. A tensor --arg
    from a CSV file of one row or column is of rank 1. Other values of --arg are true, false and numbers.

    Here --target is the loss's target; the server is --server, or GRADSERVE_TARGET.
    """
    check_stdin(options.sources())
    page = _computed(settings, options)
    if options.output is None:
        show(page, as_json=settings.json)
    else:
        write_tensors(options.output, page.tensors(), lambda: dump(page.document()))
        show(WrittenPage(str(options.output), page.tensors()), as_json=settings.json)


def _computed(settings: Settings, options: _Options) -> GradientsPage:
    x = read_tensor(options.file, dtype=options.dtype)
    place = target_place(options.loss)
    target = None if options.target is None else read_tensor(options.target, place, options.dtype)
    vector = None if options.grad_output is None else read_tensor(options.grad_output, dtype=options.dtype)
    arguments = {name: _argument(name, value, options.dtype) for name, value in options.arguments}
    with connect(settings) as client:
        gradients = client.model(options.name).gradient(
            x,
            target,
            loss=options.loss,
            loss_kwargs=arguments or None,
            reduction=options.reduction,
            grad_output=vector,
            wrt=options.wrt,
            per_sample=options.per_sample,
            return_output=options.return_output,
            training=options.training,
            seed=options.seed,
            if_version=options.if_version,
            deterministic=options.deterministic,
        )
    return _page(options, gradients)


def _page(options: _Options, gradients: gradserve.Gradients[Array]) -> GradientsPage:
    return GradientsPage(
        options.name,
        # Where it was not asked for, there is none, and the attribute raises.
        None if options.loss is None else gradients.loss,
        gradients.output if options.return_output else None,
        gradients,
        gradients.version,
        gradients.seed,
    )


def _argument(name: str, text: str, dtype: str | None) -> bool | float | Array:
    """Return the value of `--arg NAME=TEXT`.

    Raises:
        SourceError: It is neither true, false, a number, nor a tensor that can be read.
    """
    if text.startswith(("@", "[", "{")):
        return read_tensor(text.removeprefix("@"), Place.ARGUMENT, dtype)
    if text in {"true", "false"}:
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    raise SourceError(f"--arg {name}={text}: the value must be a number, true, false or @FILE")

"""What commands that compute have in common: their input, how to compute, and where the result goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import click

from gradserve.cli.tensors.casting import FLOAT_DTYPES
from gradserve.cli.tensors.reading import Place
from gradserve.cli.tensors.writing import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ComputingOptions", "computing_options", "target_place"]

P = ParamSpec("P")
T = TypeVar("T")

# The losses of torch.nn.functional whose target can hold class ids, by torch's own documentation.
_CLASS_LOSSES: Final = {"cross_entropy", "nll_loss", "multi_margin_loss", "multilabel_margin_loss"}


@dataclass(frozen=True, kw_only=True)
class ComputingOptions:
    """The common flags, under the names that click gives them.

    Attributes:
        name: The model's name.
        file: The input, as the user named it.
        dtype: The floating dtype to read tensors in; None for their own.
        output: The file for the result; None for standard output alone.
        training: Whether layers such as Dropout behave as after `model.train()`.
        seed: What random layers draw from; None to let the server draw one.
        if_version: The version that the model must be at; None for any.
        deterministic: Whether to be bit-equal to torch in process.
    """

    name: str
    file: str
    dtype: str | None
    output: Path | None
    training: bool
    seed: int | None
    if_version: int | None
    deterministic: bool


def computing_options(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the options of `ComputingOptions`."""
    for option in reversed(_options()):
        command = option(command)
    return command


def target_place(loss: str | None) -> Place:
    """Return what text means in the target of a loss."""
    return Place.CLASSES if loss in _CLASS_LOSSES else Place.VALUES


def _options() -> list[Callable[[Callable[P, T]], Callable[P, T]]]:
    return [
        click.argument("name"),
        click.argument("file"),
        click.option(
            "-o",
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            callback=_check_suffix,
            metavar="FILE",
            help=f"Write the result into a file: {', '.join(SUFFIXES)}.",
        ),
        click.option("--dtype", type=click.Choice(FLOAT_DTYPES), help="Read floating tensors in this dtype."),
        click.option("--training", is_flag=True, help="Compute as after model.train()."),
        click.option("--seed", type=int, help="What random layers draw from, as after torch.manual_seed(SEED)."),
        click.option("--if-version", type=int, metavar="N", help="Only if the model is at this version."),
        click.option("--deterministic", is_flag=True, help="Bit-equal to torch in process, and slower."),
    ]


def _check_suffix(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"{str(path)!r} must end with {', '.join(SUFFIXES)}.", context, parameter)
    return path

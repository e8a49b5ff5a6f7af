"""Options of the form NAME=VALUE."""

from __future__ import annotations

import click

__all__ = ["pairs"]


def pairs(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the names and values of a repeatable option: a callback, in the words of click.

    Raises:
        click.BadParameter: One has no name or no equals sign, or a name is given twice.
    """
    parted = [text.partition("=") for text in texts]
    if not all(name and equals for name, equals, _ in parted):
        raise click.BadParameter(f"it must be {parameter.make_metavar(context)}.", context, parameter)
    if len({name for name, _, _ in parted}) != len(parted):
        raise click.BadParameter("it gives the same name twice.", context, parameter)
    return tuple((name, value) for name, _, value in parted)

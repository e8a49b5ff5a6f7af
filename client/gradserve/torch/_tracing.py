"""Follows a module's forward, and tells it as a chain of layers."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from torch import fx, nn

import gradserve
from gradserve._architecture import Layer
from gradserve.torch._functions import layer_of_call, without_randomness
from gradserve.torch._layers import LAYERS, layer_of, refusal

# Nobody has to look for a mistake of theirs in here.
_LIBRARIES: Final = tuple(str(Path(library.__file__ or "").parent) for library in (torch, gradserve))
_PLACE: Final = "gradserve_place"


@dataclass(frozen=True)
class Step:
    """One layer of a chain.

    Attributes:
        layer: What it computes.
        path: The name of the submodule that it is; None for a call of a function.
        random: Whether a call of a function draws random numbers; None where it never does.
    """

    layer: Layer
    path: str | None = None
    random: bool | None = None


def chain(module: nn.Module) -> list[Step]:
    """Return the layers that a module applies one after the other.

    Its forward is run on a stand-in for the input, once in training and once in evaluation; the module stays as it is.

    Raises:
        InvalidArgumentError: It computes anything else; the message says what and where.
    """
    in_training, in_evaluation = _steps(module, training=True), _steps(module, training=False)
    plain = [[replace(step, random=None) for step in steps] for steps in (in_training, in_evaluation)]
    if plain[0] != plain[1]:
        raise refusal("it applies other layers in training than in evaluation")
    return [_settled(*steps) for steps in zip(in_training, in_evaluation, strict=True)]


def _settled(in_training: Step, in_evaluation: Step) -> Step:
    if in_evaluation.random:
        kind = in_training.layer.type
        raise refusal(f"it applies {kind} in evaluation too: call the function with training=self.training")
    return Step(without_randomness(in_training.layer)) if in_training.random is False else in_training


def _steps(module: nn.Module, *, training: bool) -> list[Step]:
    # Inside another module this one is called as its user calls it, hooks and all.
    outer = nn.Sequential(module)
    with _mode(outer, training=training):
        graph = _traced(outer)
    steps: list[Step] = []
    before, *nodes = graph.nodes
    for node in nodes:
        _check_input(node, before)
        if node.op != "output":
            steps.append(_step(node, outer))
        before = node
    return steps


@contextmanager
def _mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    before = {part: part.training for part in module.modules()}
    try:
        for part in before:
            part.training = training
        yield
    finally:
        for part, flag in before.items():
            part.training = flag


class _Tracer(fx.Tracer):
    """Follows calls down to the modules of torch.nn, and notes where each was made."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether to take a module as one, rather than follow its forward."""
        return type(m) in LAYERS or super().is_leaf_module(m, module_qualified_name)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:  # noqa: ANN401 - fx's own
        """Note what is called, and from where."""
        node = super().create_node(*args, **kwargs)
        # What lies further out is not the module's.
        inside = takewhile(lambda frame: frame[0].f_code is not _traced.__code__, traceback.walk_stack(None))
        node.meta[_PLACE] = _place(reversed(list(inside)))
        return node


def _traced(module: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(module)
    except Exception as error:
        place = _place(traceback.walk_tb(error.__traceback__))
        raise refusal(f"torch.fx cannot follow its forward{place}: {error}") from error


def _place(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Return the innermost place in a user's own code; empty if there is none."""
    places = [(frame.f_code.co_filename, line) for frame, line in frames]
    own = [(Path(file).name, line) for file, line in places if not file.startswith(_LIBRARIES)]
    return " at {}:{}".format(*own[-1]) if own else ""


def _check_input(node: fx.Node, before: fx.Node) -> None:
    if node.op == "get_attr":
        raise refusal(f"its forward uses the tensor {_label(node)} by itself; only whole layers can be served")
    if node.op == "output":
        if node.args != (before,):
            raise refusal("its output is not that of its last layer alone")
    elif node.all_input_nodes != [before]:
        raise refusal(f"{_label(node)} takes something else than the output of the layer before it, and nothing more")


def _step(node: fx.Node, outer: nn.Module) -> Step:
    if node.op == "call_module":
        module = outer.get_submodule(str(node.target))
        return Step(layer_of(module, _label(node)), _own_name(node))
    kwargs = {key: value for key, value in node.kwargs.items() if key != "input"}
    layer, training = layer_of_call(_function(node), node.args[1:], kwargs, _label(node))
    return Step(layer, random=training)


def _function(node: fx.Node) -> str:
    """Return torch's name of what a node calls; empty if it is not torch's."""
    if isinstance(node.target, str):
        return node.target
    is_torchs = str(node.target.__module__).partition(".")[0] == "torch"
    return node.target.__name__ if is_torchs else ""


def _own_name(node: fx.Node) -> str:
    # The outer module's only child is "0".
    return str(node.target).removeprefix("0").removeprefix(".")


def _label(node: fx.Node) -> str:
    """Return what a refusal calls a node: its name, and the place in the user's code where it is used."""
    target = node.target
    name = target if isinstance(target, str) else target.__name__
    if node.op in {"call_module", "get_attr"}:
        name = _own_name(node) or "it"
    return f"{name}{node.meta.get(_PLACE, '')}"

"""Jacobians, Hessian-vector products and per-sample gradients of a server beside torch.func in this process.

Both sides take turns, round by round, on one thread each; before anything is timed, the numbers are compared.
Run `python -m benchmarks.derivatives --plot derivatives.png`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc
import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.nn import functional

from benchmarks.calls import compare
from benchmarks.channel import CHANNEL
from benchmarks.gradserve_process import gradserve
from benchmarks.machine import Machine
from benchmarks.nets import S
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc, tensor_pb2

_ROWS = 32
_COLUMNS = 120

_Tensors: TypeAlias = Mapping[str, Tensor]
_Ask: TypeAlias = Callable[[], Mapping[str, tensor_pb2.Tensor]]


@dataclass(frozen=True)
class Pair:
    """The same numbers from a server and from torch.

    Attributes:
        name: What they are.
        ask: Has the server compute them; gives the reply's tensors by name.
        compute: Computes them here.
        aim: The most that the server's time may be, as a multiple of torch's.
        plus_trip: Whether the time of an empty call may come on top.
    """

    name: str
    ask: _Ask
    compute: Callable[[], _Tensors]
    aim: float
    plus_trip: bool

    def check(self) -> None:
        """Compare the numbers.

        Raises:
            ValueError: If they differ.
        """
        found, expected = self.ask(), self.compute()
        for name, tensor in expected.items():
            compare(f"{self.name}, {name}", codec.decode(found[name]), tensor.detach())


@dataclass(frozen=True)
class Measured:
    """Medians over all rounds, in microseconds.

    Attributes:
        pair: Of what.
        server: Of the server, its round trip included.
        torch: Of torch.
        trip: Of a call that computes next to nothing.
    """

    pair: Pair
    server: float
    torch: float
    trip: float

    @property
    def ratio(self) -> float:
        """The server's time, perhaps without that of the empty call, beside torch's."""
        return (self.server - self.trip * self.pair.plus_trip) / self.torch


def main() -> None:
    """Measure, print a table, and perhaps draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often each side has its turn (default: 30)")
    parser.add_argument("--calls", type=int, default=20, help="calls a turn (default: 20)")
    parser.add_argument("--plot", type=Path, help="where to draw the table, such as derivatives.png")
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = Machine.here()
    with gradserve("--set", "compute.threads=1") as server, grpc.insecure_channel(server.target, CHANNEL) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        measured = _measure(stub, _pairs(stub), options.rounds, options.calls)
    _show(measured, machine)
    if options.plot:
        _draw(measured, machine, options.plot)


class _Served:
    """The derivatives as a server gives them, by name."""

    def __init__(self, stub: inference_pb2_grpc.InferenceServiceStub, here: _Here) -> None:
        x = codec.encode(here.x.numpy())
        loss = inference_pb2.Loss(name="cross_entropy", target=codec.encode(here.target.numpy()))
        vectors = {name: codec.encode(vector.numpy()) for name, vector in here.vectors.items()}
        norms = inference_pb2.PER_SAMPLE_RESULT_NORMS
        by_input = inference_pb2.JacobianRequest(model=S.name, input=x)
        by_parameters = inference_pb2.JacobianRequest(model=S.name, input=x, wrt=["*"])
        of_rows = inference_pb2.GradientRequest(model=S.name, input=x, loss=loss, per_sample=True)
        norms_of_rows = inference_pb2.GradientRequest(
            model=S.name, input=x, loss=loss, per_sample=True, per_sample_result=norms
        )
        hvp = inference_pb2.HvpRequest(model=S.name, input=x, loss=loss, vectors=vectors)
        self.input_jacobian: _Ask = lambda: stub.Jacobian(by_input).jacobians
        self.parameter_jacobian: _Ask = lambda: stub.Jacobian(by_parameters).jacobians
        self.gradients: _Ask = lambda: stub.Gradient(of_rows).gradients
        self.norms: _Ask = lambda: {"norms": stub.Gradient(norms_of_rows).norms}
        self.hvp: _Ask = lambda: stub.Hvp(hvp).products


class _Here:
    """The same by torch.func."""

    def __init__(self) -> None:
        self._module = S.module()
        self._parameters = {f"layers.{name}": own.detach() for name, own in self._module.named_parameters()}
        self.x, self.target = S.input(_ROWS), torch.arange(_ROWS) % S.out_features
        self.vectors = {name: torch.ones_like(parameter) for name, parameter in self._parameters.items()}

    def input_jacobian(self) -> _Tensors:
        return {"input": vmap(jacrev(lambda row: self._output(self._parameters, row)))(self.x)}

    def parameter_jacobian(self) -> _Tensors:
        found: _Tensors = vmap(jacrev(self._output), (None, 0))(self._parameters, self.x)
        return found

    def gradients(self) -> _Tensors:
        def row_loss(parameters: _Tensors, row: Tensor, label: Tensor) -> Tensor:
            return functional.cross_entropy(self._output(parameters, row[None]), label[None])

        found: _Tensors = vmap(grad(row_loss), (None, 0, 0))(self._parameters, self.x, self.target)
        return found

    def norms(self) -> _Tensors:
        return {"norms": torch.cat([own.flatten(1) for own in self.gradients().values()], 1).norm(dim=1)}

    def hvp(self) -> _Tensors:
        def loss(parameters: _Tensors) -> Tensor:
            return functional.cross_entropy(self._output(parameters, self.x), self.target)

        found: _Tensors = jvp(grad(loss), (self._parameters,), (self.vectors,))[1]
        return found

    def _output(self, parameters: _Tensors, rows: Tensor) -> Tensor:
        own = {name.removeprefix("layers."): parameter for name, parameter in parameters.items()}
        found: Tensor = functional_call(self._module, own, (rows,))
        return found


def _pairs(stub: inference_pb2_grpc.InferenceServiceStub) -> list[Pair]:
    here = _Here()
    served = _Served(stub, here)
    return [
        Pair("Jacobian by the input", served.input_jacobian, here.input_jacobian, aim=2, plus_trip=False),
        Pair("Jacobian by all parameters", served.parameter_jacobian, here.parameter_jacobian, aim=2, plus_trip=False),
        Pair("Per-sample gradients", served.gradients, here.gradients, aim=1.5, plus_trip=True),
        Pair("Norms of per-sample gradients", served.norms, here.norms, aim=1.5, plus_trip=True),
        Pair("Hessian-vector product", served.hvp, here.hvp, aim=1.5, plus_trip=True),
    ]


def _measure(
    stub: inference_pb2_grpc.InferenceServiceStub, pairs: Sequence[Pair], rounds: int, calls: int
) -> list[Measured]:
    tiny = inference_pb2.ForwardRequest(model=S.name, input=codec.encode(S.input(1).numpy()))
    turns: dict[str, Callable[[], object]] = {"trip": lambda: stub.Forward(tiny)}
    for pair in pairs:
        pair.check()
        turns[f"server {pair.name}"], turns[f"torch {pair.name}"] = pair.ask, pair.compute
    times: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(-2, rounds):
        for name, call in turns.items():
            begun = time.perf_counter()
            for _ in range(calls):
                call()
            # What is slow at first is not timed.
            if turn >= 0:
                times[name].append((time.perf_counter() - begun) / calls * 1e6)
    median = {name: statistics.median(own) for name, own in times.items()}
    return [
        Measured(pair, median[f"server {pair.name}"], median[f"torch {pair.name}"], median["trip"]) for pair in pairs
    ]


def _show(measured: Sequence[Measured], machine: Machine) -> None:
    title = (
        f"{_ROWS} rows of {'-'.join(map(str, S.widths))}; a call that computes little takes {measured[0].trip:.0f} us"
    )
    table = Table(title=title, caption=str(machine), box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "server, us", "torch.func, us", "ratio", "aim"):
        table.add_column(heading, justify="right" if heading else "left")
    for own in measured:
        aim = f"{own.pair.aim:g}{' and a call' if own.pair.plus_trip else ''}"
        table.add_row(own.pair.name, f"{own.server:.0f}", f"{own.torch:.0f}", f"{own.ratio:.2f}", aim)
    Console(width=_COLUMNS).print(table)


def _draw(measured: Sequence[Measured], machine: Machine, path: Path) -> None:
    mpl.rcParams["svg.fonttype"] = "none"
    canvas = Figure(figsize=(9, 1.4 + 0.6 * len(measured)), layout="constrained")
    axes = canvas.add_subplot()
    places = range(len(measured))
    axes.barh(
        [place - 0.2 for place in places], [own.server for own in measured], 0.36, label="server, round trip included"
    )
    axes.barh([place + 0.2 for place in places], [own.torch for own in measured], 0.36, label="torch.func in process")
    axes.axvline(measured[0].trip, color="black", linestyle=":", label="a call that computes little")
    axes.set_yticks(list(places), [own.pair.name for own in measured])
    axes.invert_yaxis()
    axes.set_xlabel(f"microseconds for {_ROWS} rows of {'-'.join(map(str, S.widths))}, medians")
    axes.set_title(str(machine), fontsize=8)
    axes.legend()
    canvas.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

"""Gradient beside a bare echo, and beside torch in process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import in_process
from benchmarks.calls import input_gradient, parameter_gradients
from benchmarks.h2load import Concurrency
from benchmarks.hot_path.bare_servers import BareServers, bare_servers
from benchmarks.hot_path.figure import Figure
from benchmarks.hot_path.servers import Servers
from benchmarks.nets import B, S
from benchmarks.subject import Throughput, gradserve_subject

SECTION = "gradient"

_S_TARGETS = {(4, 2): 0.55, (8, 8): 0.6}
_ROWS = 64


@contextmanager
def figures(servers: Servers) -> Iterator[list[Figure]]:
    """Give the figures; what they need beside the servers runs inside the block."""
    with bare_servers(S) as bare_s, bare_servers(B) as bare_b:
        yield [
            *servers.over_echo(SECTION, "Gradient S by the input", input_gradient(S), _S_TARGETS, bare_s),
            _by_the_input(servers, bare_b),
            _by_all_parameters(servers),
        ]


def _by_the_input(servers: Servers, bare: BareServers) -> Figure:
    call = input_gradient(B)
    step = in_process.input_gradient(B)
    return Figure(
        section=SECTION,
        name="Gradient B by the input",
        yardstick="autograd.grad in process, row by row",
        load="8x8",
        target=2.5,
        ours=Throughput(gradserve_subject(servers.gradserve, call), Concurrency(8, 8)),
        theirs=lambda seconds: in_process.rate(step, seconds),
        bare=bare.throughput(call, Concurrency(8, 8)),
    )


def _by_all_parameters(servers: Servers) -> Figure:
    ours = gradserve_subject(servers.gradserve, parameter_gradients(B, _ROWS))
    step = in_process.parameter_gradients(B, _ROWS)
    return Figure(
        section=SECTION,
        name=f"Gradient B by all parameters, {_ROWS} rows",
        yardstick="autograd.grad in process",
        load="1x1",
        target=0.5,
        ours=Throughput(ours, Concurrency(1, 1)),
        theirs=lambda seconds: in_process.rate(step, seconds),
    )

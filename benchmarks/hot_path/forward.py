"""Forward beside a bare echo, and beside computing where a request arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.calls import forward
from benchmarks.h2load import Concurrency, grpc_endpoint
from benchmarks.hot_path.figure import Figure
from benchmarks.hot_path.servers import Servers
from benchmarks.nets import B, S
from benchmarks.processes import running
from benchmarks.subject import Subject, Throughput, gradserve_subject

SECTION = "forward"

_S_TARGETS = {(1, 1): 0.75, (4, 2): 0.8, (8, 8): 0.85}
_B_TARGETS = {(8, 8): 0.75, (16, 16): 0.85}
_LONE = Concurrency(1, 1)
_LONE_TARGET = 0.95


@contextmanager
def figures(servers: Servers) -> Iterator[list[Figure]]:
    """Give the figures; what they need beside the servers runs inside the block."""
    with running("benchmarks.inline", B.name) as inline:
        yield [
            *servers.over_echo(SECTION, "Forward S", forward(S), _S_TARGETS),
            *servers.over_echo(SECTION, "Forward B", forward(B), _B_TARGETS),
            _lone(servers, inline.target),
        ]


def _lone(servers: Servers, unbatched: str) -> Figure:
    """What batching may cost a caller who is alone."""
    call = forward(B)
    inline = Subject(grpc_endpoint(unbatched, call.path, call.message), call.check)
    return Figure(
        section=SECTION,
        name="Forward B, one caller",
        yardstick="unbatched, inline",
        load="1x1",
        target=_LONE_TARGET,
        ours=Throughput(gradserve_subject(servers.gradserve, call), _LONE),
        theirs=Throughput(inline, _LONE),
    )

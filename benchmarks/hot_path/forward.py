"""Forward beside a bare echo, and beside computing where a request arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.calls import forward
from benchmarks.h2load import Concurrency
from benchmarks.hot_path.bare_servers import BareServers, bare_servers
from benchmarks.hot_path.figure import Figure
from benchmarks.hot_path.servers import Servers
from benchmarks.nets import B, S
from benchmarks.processes import running
from benchmarks.subject import Throughput, bare_subject, gradserve_subject

SECTION = "forward"

_S_TARGETS = {(1, 1): 0.75, (4, 2): 0.8, (8, 8): 0.85}
_B_TARGETS = {(8, 8): 0.75, (16, 16): 0.85}
_LONE = Concurrency(1, 1)
_LONE_TARGET = 0.95


@contextmanager
def figures(servers: Servers) -> Iterator[list[Figure]]:
    """Give the figures; what they need beside the servers runs inside the block."""
    with (
        running("benchmarks.inline", B.name) as inline,
        bare_servers(S) as bare_s,
        bare_servers(B) as bare_b,
    ):
        yield [
            *servers.over_echo(SECTION, "Forward S", forward(S), _S_TARGETS, bare_s),
            *servers.over_echo(SECTION, "Forward B", forward(B), _B_TARGETS, bare_b),
            _lone(servers, inline.target, bare_b),
        ]


def _lone(servers: Servers, unbatched: str, bare: BareServers) -> Figure:
    """What batching may cost a caller who is alone."""
    call = forward(B)
    return Figure(
        section=SECTION,
        name="Forward B, one caller",
        yardstick="unbatched, inline",
        load="1x1",
        target=_LONE_TARGET,
        ours=Throughput(gradserve_subject(servers.gradserve, call), _LONE),
        theirs=Throughput(bare_subject(unbatched, call), _LONE),
        bare=bare.throughput(call, _LONE),
    )

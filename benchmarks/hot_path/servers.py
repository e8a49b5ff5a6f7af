"""The two servers that are always there: Gradserve, and the echo beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.calls import Call
from benchmarks.echo import SERVICE
from benchmarks.gradserve_process import GradserveProcess
from benchmarks.h2load import Concurrency, ask, grpc_endpoint
from benchmarks.hot_path.bare_servers import BareServers
from benchmarks.hot_path.figure import Figure
from benchmarks.processes import ServerProcess
from benchmarks.subject import Subject, Throughput, gradserve_subject


@dataclass(frozen=True)
class Servers:
    """Both, running.

    Attributes:
        gradserve: What is measured.
        echo: What its library can do at most.
    """

    gradserve: GradserveProcess
    echo: ServerProcess

    def over_echo(
        self, section: str, name: str, call: Call, targets: Mapping[tuple[int, int], float], bare: BareServers
    ) -> list[Figure]:
        """Calls a second over echoes of as many bytes both ways, for each (connections, streams).

        Args:
            section: Of the figures.
            name: Of the figures.
            call: What is called.
            targets: The ratios to reach.
            bare: The bare servers of the same net.
        """
        ours, theirs = gradserve_subject(self.gradserve, call), self.echo_of(call)
        return [
            Figure(
                section=section,
                name=name,
                yardstick="echo",
                load=f"{connections}x{streams}",
                target=target,
                ours=Throughput(ours, Concurrency(connections, streams)),
                theirs=Throughput(theirs, Concurrency(connections, streams)),
                bare=bare.throughput(call, Concurrency(connections, streams)),
            )
            for (connections, streams), target in targets.items()
        ]

    def echo_path(self, call: Call) -> str:
        """The echo's method whose replies are as long as Gradserve's."""
        return f"/{SERVICE}/{len(ask(grpc_endpoint(self.gradserve.target, call.path, call.message)))}"

    def echo_of(self, call: Call) -> Subject:
        """The echo of a call."""
        path = self.echo_path(call)

        def check(reply: bytes) -> None:
            if path != f"/{SERVICE}/{len(reply)}":
                raise ValueError(f"{path} answered {len(reply)} bytes")

        return Subject(grpc_endpoint(self.echo.target, path, call.message), check)

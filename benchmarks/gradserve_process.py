"""A Gradserve server with the nets that are measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.channel import CHANNEL
from benchmarks.nets import NETS, Net
from benchmarks.processes import CHECKOUT, ServerProcess, running
from benchmarks.scrape import Scrape, settled
from gradserve.v1 import model_pb2, model_pb2_grpc

_SECONDS = 60


@dataclass(frozen=True)
class GradserveProcess:
    """A server that serves each net under its name.

    Attributes:
        process: Its process.
        metrics: Where its metrics are, "HOST:PORT".
    """

    process: ServerProcess
    metrics: str

    @property
    def target(self) -> str:
        """Where it listens."""
        return self.process.target

    def ok_count(self) -> int:
        """How many requests it has answered OK since it started, by its own counter."""
        return Scrape.of(self.metrics).sum("gradserve_requests_total", outcome="ok")

    @contextmanager
    def answering(self, requests: int) -> Iterator[None]:
        """Check that within the block so many requests, and no more, are answered OK.

        Raises:
            OSError: They were not.
        """
        before = self.ok_count()
        yield
        self.check_answered(before, requests)

    def check_answered(self, before: int, requests: int) -> None:
        """Check that so many requests were answered OK since the counter stood at `before`.

        Raises:
            OSError: They were not.
        """
        answered = settled(self.ok_count, before + requests) - before
        if answered != requests:
            raise OSError(f"{requests} requests were sent, and {answered} answered OK")


@contextmanager
def gradserve(
    *flags: str, checkout: Path = CHECKOUT, cores: Collection[int] = (), module: str = "gradserve"
) -> Iterator[GradserveProcess]:
    """Serve the nets until the block ends, and keep nothing on disk.

    Args:
        flags: More for `gradserve serve`.
        checkout: The clone of the repository whose server it is to be.
        cores: Those that it may use; without any, all.
        module: What to run instead of the command line.
    """
    arguments = ("serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--ephemeral", *flags)
    with (
        running(module, *arguments, checkout=checkout, cores=cores) as process,
        grpc.insecure_channel(process.target, CHANNEL) as channel,
    ):
        models = model_pb2_grpc.ModelServiceStub(channel)
        for net in NETS.values():
            models.CreateModel(_creation(net), timeout=_SECONDS)
        info = models.GetServerInfo(model_pb2.GetServerInfoRequest(), timeout=_SECONDS)
        yield GradserveProcess(process, info.metrics_address)


def _creation(net: Net) -> model_pb2.CreateModelRequest:
    mlp = model_pb2.MLP(
        in_features=net.in_features, hidden_features=net.widths[1:-1], out_features=net.out_features, activation="ReLU"
    )
    architecture = model_pb2.Architecture(mlp=mlp)
    return model_pb2.CreateModelRequest(name=net.name, architecture=architecture, seed=net.seed, device="cpu")

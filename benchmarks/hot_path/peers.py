"""Forward and vector-Jacobian products beside other servers, each with the same net in eager torch and one worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch

from benchmarks import calls
from benchmarks.hot_path.bare_servers import BareServers, bare_servers
from benchmarks.hot_path.figure import Figure
from benchmarks.hot_path.servers import Servers
from benchmarks.nets import Net
from benchmarks.peers.catalogue import Comparison, Peer
from benchmarks.peers.environments import Environments
from benchmarks.peers.process import serving
from benchmarks.subject import Subject, Throughput, gradserve_subject

SECTION = "peers"


def parts(
    servers: Servers, environments: Environments, peers: Sequence[Peer]
) -> list[AbstractContextManager[list[Figure]]]:
    """Give a part for each peer that is installed and each net: only one of these servers runs at a time."""
    return [
        _figures(servers, peer, net, environments)
        for peer in peers
        if environments.is_ready(peer)
        for net in dict.fromkeys(comparison.net for comparison in peer.comparisons)
    ]


def missing(environments: Environments, peers: Sequence[Peer]) -> list[str]:
    """What to say of the peers that are not installed."""
    return [f"{peer.title} is not installed" for peer in peers if not environments.is_ready(peer)]


@contextmanager
def _figures(servers: Servers, peer: Peer, net: Net, environments: Environments) -> Iterator[list[Figure]]:
    with serving(peer, net, environments) as target, bare_servers(net) as bare:
        yield [_figure(servers, peer, item, target, bare) for item in peer.comparisons if item.net == net]


def _figure(servers: Servers, peer: Peer, comparison: Comparison, target: str, bare: BareServers) -> Figure:
    net, concurrency = comparison.net, comparison.concurrency
    name, call = _call(comparison)
    return Figure(
        section=SECTION,
        name=f"{name} {net.name.upper()}",
        yardstick=peer.title,
        load=str(concurrency.in_flight),
        target=comparison.target,
        ours=Throughput(gradserve_subject(servers.gradserve, call), concurrency),
        theirs=Throughput(_subject(comparison, target), concurrency),
        bare=None if comparison.is_translated else bare.throughput(call, concurrency),
    )


def _call(comparison: Comparison) -> tuple[str, calls.Call]:
    """What Gradserve is asked."""
    if comparison.is_translated:
        return "ModelInfer", calls.model_infer(comparison.net)
    if comparison.is_gradient:
        return "Gradient", calls.vector_jacobian_product(comparison.net)
    return "Forward", calls.forward(comparison.net)


def _subject(comparison: Comparison, target: str) -> Subject:
    net, encoding = comparison.net, comparison.encoding
    x = net.input(1).requires_grad_()
    y = net.module()(x)
    expected = torch.autograd.grad(y.sum(), x)[0] if comparison.is_gradient else y

    def check(reply: bytes) -> None:
        calls.compare("the peer's reply", encoding.output(reply), expected)

    return Subject(encoding.request(target, net), check)

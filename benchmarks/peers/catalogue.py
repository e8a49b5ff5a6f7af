"""The peers: what to install, what to ask, and how much faster to be."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.h2load import Concurrency
from benchmarks.nets import B, Net, S
from benchmarks.peers import encoding
from benchmarks.peers.encoding import Encoding

_ONE, _MANY = Concurrency(1, 1), Concurrency(8, 8)

# A Python that comes in one piece with its standard library: the one that PyTriton's server embeds is of Debian's make.
_SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Comparison:
    """One row of the table of peers.

    Attributes:
        net: What both serve.
        encoding: How the peer is asked.
        concurrency: How many requests are in flight.
        target: The ratio to reach.
        is_gradient: Whether the vector-Jacobian product by the input is asked for rather than the output.
        is_translated: Whether Gradserve is asked in the peer's protocol rather than in its own.
    """

    net: Net
    encoding: Encoding
    concurrency: Concurrency
    target: float
    is_gradient: bool = False
    is_translated: bool = False


@dataclass(frozen=True)
class Peer:
    """Another server.

    Attributes:
        name: Its module in `benchmarks.peers.servers`, and its folder of installed packages.
        title: How its makers write it.
        requirement: What pip installs.
        comparisons: What is measured.
        python: What makes its virtual environment.
    """

    name: str
    title: str
    requirement: str
    comparisons: tuple[Comparison, ...]
    python: str = sys.executable


def _forward(how: Encoding, s: float = 2.0, b: float = 2.0) -> tuple[Comparison, ...]:
    return (Comparison(S, how, _MANY, s), Comparison(B, how, _MANY, b))


def _both_protocols(s: float = 2.0, b: float = 2.0) -> tuple[Comparison, ...]:
    """Forward, and ModelInfer, of which S alone has a target: with B the net is most of it."""
    translated = Comparison(S, encoding.OPEN_INFERENCE, _MANY, s, is_translated=True)
    return (*_forward(encoding.OPEN_INFERENCE, s, b), translated)


def _gradient(how: Encoding) -> tuple[Comparison, ...]:
    targets = ((S, _ONE, 1.3), (S, _MANY, 2.5), (B, _ONE, 3.0), (B, _MANY, 10.0))
    return tuple(Comparison(net, how, concurrency, target, is_gradient=True) for net, concurrency, target in targets)


PEERS = (
    Peer("kserve", "KServe", "kserve==0.21.0", _both_protocols()),
    Peer("mlserver", "MLServer", "mlserver==1.7.1", _both_protocols()),
    Peer("litserve", "LitServe", "litserve==0.2.19", _forward(encoding.LITSERVE)),
    Peer("bentoml", "BentoML", "bentoml==1.4.39", _forward(encoding.BENTOML)),
    Peer("ray", "Ray Serve", "ray[serve]==2.60.0", _forward(encoding.RAW_BYTES)),
    Peer("pytriton", "PyTriton", "nvidia-pytriton==0.7.0", _both_protocols(1.5), _SYSTEM_PYTHON),
    Peer(
        "tesseract",
        "Tesseract",
        "tesseract-core[runtime]==1.15.0",
        (*_forward(encoding.TESSERACT), *_gradient(encoding.TESSERACT_GRADIENT)),
    ),
    Peer(
        "umbridge",
        "UM-Bridge",
        "umbridge==1.2.10",
        (
            Comparison(S, encoding.UMBRIDGE, _ONE, 1.0),
            Comparison(S, encoding.UMBRIDGE, _MANY, 1.5),
            *_gradient(encoding.UMBRIDGE_GRADIENT),
        ),
    ),
)
"""All of them."""

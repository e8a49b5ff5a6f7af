"""A net, in the words of BentoML: which one says the variable NET."""

from __future__ import annotations

import os
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType
from numpy.typing import NDArray

from benchmarks.nets import NETS
from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread

_MOST_ROWS = 64

Rows = Annotated[np.ndarray, DType("float32")]
"""Rows in JSON, read as float32."""


@bentoml.service(workers=1)
class NetService:
    """A net."""

    def __init__(self) -> None:
        self._net = NetOnOneThread(NETS[os.environ["NET"]])

    @bentoml.api(batchable=True, max_batch_size=_MOST_ROWS)
    def forward(self, x: Rows) -> Rows:
        """The output."""
        y: NDArray[np.float32] = self._net.forward(np.asarray(x, np.float32))
        return y

"""What a server cannot do less than to keep weights that arrive: each step alone, in one process, chunk by chunk."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.byte_stream import CHUNK_BYTES


def processor_seconds(content: memoryview, folder: Path) -> dict[str, float]:
    """The processor time of a checksum, of a copy into new memory and of a file, by step.

    Args:
        content: What arrives.
        folder: Where the file is.
    """
    return {
        "checksum": _seconds(lambda: _hash(content)),
        "copy": _seconds(lambda: _copy(content)),
        "file": _seconds(lambda: _write(content, folder)),
    }


def _seconds(step: Callable[[], None]) -> float:
    before = time.process_time()
    step()
    return time.process_time() - before


def _hash(content: memoryview) -> None:
    digest = hashlib.sha256()
    for chunk in _chunks(content):
        digest.update(chunk)
    digest.digest()


def _copy(content: memoryview) -> None:
    weights = torch.empty(len(content), dtype=torch.uint8).numpy()
    start = 0
    for chunk in _chunks(content):
        np.copyto(weights[start : start + len(chunk)], np.frombuffer(chunk, np.uint8))
        start += len(chunk)


def _write(content: memoryview, folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for chunk in _chunks(content):
            os.write(file.fileno(), chunk)


def _chunks(content: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]

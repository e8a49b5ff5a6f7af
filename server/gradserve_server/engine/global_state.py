"""torch's process-wide state: its random generators and its determinism flag, each borrowed under one lock."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Reentrant: a deterministic request may also be a seeded one.
_lock = threading.RLock()

_SEED_BITS = 53  # Any JSON reader keeps such a seed exactly.


def new_seed() -> int:
    """Draw a seed from the operating system, not from a generator that some request has seeded."""
    return secrets.randbits(_SEED_BITS)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block as after `torch.manual_seed(seed)`, and leave every generator as it was."""
    devices = [device] if device.type == "cuda" else []
    with _lock, torch.random.fork_rng(devices=devices), _mps_generator_kept(device):
        set_seed(seed, device)
        yield


def set_seed(seed: int, device: torch.device) -> None:
    """What `torch.manual_seed(seed)` does, for one device; only inside a block of `seeded`."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def _mps_generator_kept(device: torch.device) -> Iterator[None]:
    # fork_rng passes a device index, which torch.mps, with its one device, does not take.
    if device.type != "mps":
        yield
        return
    state = torch.mps.get_rng_state()
    try:
        yield
    finally:
        torch.mps.set_rng_state(state)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Run a block under `torch.use_deterministic_algorithms(True)`."""
    with _lock:
        torch.use_deterministic_algorithms(mode=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(mode=False)

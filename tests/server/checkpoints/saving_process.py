"""A program that keeps a model, as often as it is told to, each time in a process of its own that can be traced.

It reads lines of a version and a folder. For each it forks; the child opens the store there, tells its process id,
waits for a byte, saves, and tells how that ended. The parent then tells that it is done. Forking saves the time that
importing everything takes, and leaves in the trace nothing but the save.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path

from gradserve_server.checkpoints.manifest import WeightsFile
from gradserve_server.checkpoints.store import Store, open_store
from gradserve_server.errors import ServiceError
from tests.server.checkpoints.examples import manifest

NAME = "classifier"
BEGIN, END = "/the-save-begins", "/the-save-has-ended"
SAVED, DONE = "saved", "done"
UPLOADED = 3
"""The version whose weights are written before it is known that they will be kept."""

_PR_SET_PTRACER = 0x59616D61


def content(version: int) -> bytes:
    """The weights of a version."""
    return f"the weights of version {version}".encode() * 20


def save(store: Store, version: int) -> None:
    """Keep a model at a version; its weights come in two chunks."""
    data = content(version)
    if version == UPLOADED:
        weights = _adopted(store, data)
    else:
        weights = store.write_weights(NAME, version, [data[:100], memoryview(data)[100:]])
    store.commit(NAME, manifest(version, weights))


def _adopted(store: Store, data: bytes) -> WeightsFile:
    draft = store.draft(NAME)
    try:
        draft.write(data[:100])
        draft.write(data[100:])
        draft.finish(hashlib.sha256(data).digest())
        return store.adopt(NAME, UPLOADED, draft)
    finally:
        draft.discard()


def _save_when_traced(folder: Path, version: int) -> None:
    if sys.platform == "linux":
        # Where a process may only trace its descendants, this allows the test to trace us.
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    store = open_store(folder)
    _tell(os.getpid())
    if os.read(0, 1):
        _tell(_saved(store, version))


def _saved(store: Store, version: int) -> str:
    os.access(BEGIN, os.F_OK)
    try:
        save(store, version)
    except ServiceError as refusal:
        return refusal.reason
    finally:
        os.access(END, os.F_OK)
    return SAVED


def _tell(what: object) -> None:
    os.write(1, f"{what}\n".encode())


def _line() -> str:
    # Byte by byte: what comes after the line is for the child.
    line = b""
    while (byte := os.read(0, 1)) not in {b"", b"\n"}:
        line += byte
    return line.decode()


def main() -> None:
    """Serve lines until there are no more."""
    while line := _line():
        version, _, folder = line.partition(" ")
        if child := os.fork():
            os.waitpid(child, 0)
            _tell(DONE)
        else:
            try:
                _save_when_traced(Path(folder), int(version))
            finally:
                os._exit(0)


if __name__ == "__main__":
    main()

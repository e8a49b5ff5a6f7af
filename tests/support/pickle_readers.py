"""Ways to read a pickle, to see which of them a process still has."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch


def _pickled() -> io.BytesIO:
    return io.BytesIO(pickle.dumps(OrderedDict(a=1)))


def _saved() -> io.BytesIO:
    file = io.BytesIO()
    torch.save({"layers.0.weight": torch.zeros(2)}, file)
    file.seek(0)
    return file


def _object_array() -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, np.array([OrderedDict()], dtype=object), allow_pickle=True)
    file.seek(0)
    return file


def _derived() -> object:
    class Derived(pickle.Unpickler):
        """As libraries make their own."""

    return Derived(_pickled()).load()


READERS: dict[str, Callable[[], object]] = {
    "pickle.loads": lambda: pickle.loads(pickle.dumps(1)),  # noqa: S301 - it is to fail
    "pickle.load": lambda: pickle.load(io.BytesIO(pickle.dumps(1))),  # noqa: S301
    "pickle.Unpickler": lambda: pickle.Unpickler(_pickled()).load(),  # noqa: S301
    "a class derived from it": _derived,
    "the unpickler in C": lambda: __import__("_pickle").loads(_pickled().getvalue()),
    "the unpickler in Python": lambda: pickle._Unpickler(_pickled()).load(),
    "numpy.load": lambda: np.load(_object_array(), allow_pickle=True),
    "torch.load": lambda: torch.load(_saved()),
    "torch.load of anything": lambda: torch.load(_saved(), weights_only=False),
    "torch.serialization.load": lambda: torch.serialization.load(_saved()),
}


def working() -> list[str]:
    """The readers that read; one that fails with anything but the refusal of unpickling is a fault here."""
    return [name for name, read in READERS.items() if not _is_refused(read)]


def _is_refused(read: Callable[[], object]) -> bool:
    try:
        read()
    except AssertionError as error:
        # Not by the class itself: a server process has its own, under another module's name.
        return type(error).__name__ == "ForbiddenUnpicklingError"
    return False

"""Forbids unpickling in the process that imports it; Python does so by itself where this folder is on PYTHONPATH.

`pickle.load`, `pickle.loads`, `pickle.Unpickler` and `torch.load` raise, weights-only or not. So does whatever else
reads a pickle and comes upon a class in it, such as a name that was bound before. Writing pickles stays allowed, and
`pickled_copy` reads the one that it has just written.
"""

import importlib.abc
import importlib.machinery
import pickle
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from types import ModuleType
from typing import NoReturn, TypeVar

Value = TypeVar("Value")

_TORCH = "torch.serialization"
_load_bytes = pickle.loads
_copying: ContextVar[bool] = ContextVar("_copying", default=False)


class ForbiddenUnpicklingError(AssertionError):
    """Something was about to read a pickle."""


def refuse(*_args: object, **_kwargs: object) -> NoReturn:
    """Stand in for whatever reads pickles."""
    raise ForbiddenUnpicklingError("a pickle was about to be read, and none ever may be")


def pickled_copy(value: Value) -> Value:
    """The value as another process gets it that multiprocessing sends it to."""
    token = _copying.set(True)
    try:
        copy: Value = _load_bytes(pickle.dumps(value))
    finally:
        _copying.reset(token)
    return copy


class ForbiddenUnpickler(pickle.Unpickler):
    """A class still, as others derive from it when they are imported."""

    __init__ = refuse


class _TorchFinder(importlib.abc.MetaPathFinder):
    """Replaces torch.load when torch is imported, which is not to be sooner than without this."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find torch.serialization, and nothing else."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if fullname == _TORCH else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_replace(module: ModuleType) -> None:
            run(module)
            module.load = refuse

        spec.loader.exec_module = run_and_replace
        return spec


def _refuse_classes(event: str, _arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class" and not _copying.get():
        refuse()


# Torch after this could keep the true `load` under its own name.
assert "torch" not in sys.modules
pickle.load = pickle.loads = refuse
pickle.Unpickler = ForbiddenUnpickler
sys.addaudithook(_refuse_classes)
sys.meta_path.insert(0, _TorchFinder())

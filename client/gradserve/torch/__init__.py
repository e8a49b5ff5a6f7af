"""Gradserve for those who have torch: `pip install 'gradserve[torch]'`. Nothing else in the client imports it."""

try:
    import torch  # noqa: F401 - what is imported below needs it
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("torch is not installed: pip install 'gradserve[torch]'", name=error.name) from None

from gradserve.torch._remote_module import RemoteModule
from gradserve.torch._tensors import tensors

__all__ = ["RemoteModule", "tensors"]

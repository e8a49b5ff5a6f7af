"""Remote modules of models that live as long as a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch

import gradserve
from gradserve.torch import RemoteModule

Make = Callable[..., RemoteModule]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads as the server computes with, and the random state of before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def make(client: gradserve.Client) -> Iterator[Make]:
    """Makes a remote module of a new model on the CPU, in float64 unless told otherwise."""
    with ExitStack() as stack:

        def made(architecture: gradserve.MLP | list[gradserve.Layer], dtype: str = "float64") -> RemoteModule:
            if isinstance(architecture, list):
                architecture = gradserve.Sequential(architecture)
            client.create_model("remote", architecture, seed=7, dtype=dtype, device="cpu")
            stack.callback(client.delete_model, "remote")
            return RemoteModule(client, "remote")

        yield made


@pytest.fixture
def mlp(make: Make) -> RemoteModule:
    """A smooth network of four features in evaluation."""
    return make(gradserve.MLP(4, [5], 3, activation="Tanh"))

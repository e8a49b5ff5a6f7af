"""Processes that fine-tune one model lose no step of each other."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradserve
from examples import shared_fine_tuning as example

STEPS = 60


@pytest.fixture
def model(client) -> Iterator[gradserve.Model]:
    yield client.create_model("shared", gradserve.MLP(1, [8], 1))
    client.delete_model("shared")


@dataclass(frozen=True)
class Overtaken:
    """A handle of a model whose weights somebody else changes while this one's gradient is on its way back."""

    model: gradserve.Model

    def gradient(self, *args: Any, **kwargs: Any) -> object:
        gradients = self.model.gradient(*args, **kwargs)
        weights = self.model.state_dict()
        self.model.load_state_dict({name: np.zeros_like(array) for name, array in weights.items()}, durable=False)
        return gradients

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def test_a_step_from_weights_that_are_no_longer_there_is_aborted_and_changes_nothing(model):
    with pytest.raises(gradserve.AbortedError):
        example.take_step(Overtaken(model), *example.curve(10))
    assert all((array == 0).all() for array in model.state_dict().values())


def test_a_step_goes_downhill(model):
    x, y = example.curve(30)
    before = model.gradient(x, y, loss="mse_loss").loss
    version = example.take_step(model, x, y)
    assert model.gradient(x, y, loss="mse_loss", if_version=version).loss < before


def test_three_processes_make_a_version_with_every_step_and_learn_the_whole_curve(target, client, tmp_path):
    before = client.list_models()
    command = [sys.executable, "-W", "error", Path(example.__file__), "--steps", str(STEPS)]
    environ = {**os.environ, "GRADSERVE_TARGET": target}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"versions after the first: {3 * STEPS}\n" in done.stdout
    loss = re.search(r"loss: (\S+) before, (\S+) after", done.stdout)
    assert float(loss[2]) < 0.3 * float(loss[1])
    assert (tmp_path / "shared_fine_tuning.png").stat().st_size > 0
    assert client.list_models() == before

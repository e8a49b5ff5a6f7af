"""The script that trains `digits` makes a model as good as the bundled one, and of its shape."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors import safe_open

from gradserve_server.bundled import BUNDLED

ROOT = Path(__file__).resolve().parents[2]
BUNDLED_WEIGHTS = ROOT / "server" / "gradserve_server" / "bundled" / "digits.safetensors"
LARGEST_FILE = 200_000


def shapes(path: Path) -> Mapping[str, tuple[str, list[int]]]:
    """Each tensor's dtype and shape."""
    with safe_open(path, "numpy") as file:
        return {name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping


def metadata(path: Path) -> Mapping[str, str]:
    """What the file says about itself."""
    with safe_open(path, "numpy") as file:
        return file.metadata()


@pytest.mark.slow
def test_training_again_gives_a_model_of_the_same_shape_and_at_least_97_percent(tmp_path: Path):
    """Not the same bits: those depend on the processor."""
    output = tmp_path / "digits.safetensors"
    script = ROOT / "examples" / "train_digits.py"
    subprocess.run([sys.executable, "-W", "error", script, "--output", output], check=True, timeout=240)
    assert shapes(output) == shapes(BUNDLED_WEIGHTS)
    assert float(metadata(output)["accuracy"]) >= 0.97


def test_the_bundled_file_tells_how_it_was_made_and_whose_data_it_saw():
    known = metadata(BUNDLED_WEIGHTS)
    assert float(known["accuracy"]) >= 0.97
    assert known["split"] == "train_test_split(test_size=0.25, stratify=labels, random_state=0)"
    assert known["data_licence"] == "CC BY 4.0"


def test_the_bundled_weights_are_small():
    assert all(len(model.read_weights() or b"") < LARGEST_FILE for model in BUNDLED.values())

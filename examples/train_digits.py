"""Trains the `digits` model that Gradserve brings along, and writes its weights.

The data are the 1797 handwritten digits of 8 x 8 pixels that scikit-learn ships: a copy of the test set of
"Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository,
https://archive.ics.uci.edu/dataset/80, CC BY 4.0). Pixels count from 0 to 16; the network sees `pixels / 16`.

A quarter of the images, stratified by digit, is held out by `train_test_split(..., test_size=0.25, stratify=labels,
random_state=0)`. The settings below were chosen by 5-fold cross-validation on the other three quarters; the
held-out images are only ever scored.

    python examples/train_digits.py                      # writes the file that the server package contains
    python examples/train_digits.py --plot curve.png     # draws the learning curve too (needs matplotlib)
"""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

BUNDLED = Path(__file__).parents[1] / "server" / "gradserve_server" / "bundled" / "digits.safetensors"
SEED = 0
HELD_OUT = 0.25
EPOCHS = 60
BATCH_ROWS = 64


@dataclass(frozen=True)
class Split:
    """The images, float32 of shape [N, 64] in 0..1, and their digits, int64 of shape [N]."""

    images: Tensor
    labels: Tensor
    held_out_images: Tensor
    held_out_labels: Tensor


@dataclass(frozen=True)
class Epoch:
    """One point of the learning curve: the mean training loss, and the held-out accuracy in 0..1 after it."""

    loss: float
    accuracy: float


class Network(nn.Module):
    """An MLP 64-128-64-10; its state_dict has the names that a model on the server has, `layers.<i>.<name>`."""

    def __init__(self) -> None:
        """Draws the initial weights from torch's global generator."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits of shape [N, 10] for images of shape [N, 64]."""
        logits: Tensor = self.layers(images)
        return logits


def load_split() -> Split:
    """Loads, scales and splits the data; the same split on every machine."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype("float32")
    parts = train_test_split(images, labels, test_size=HELD_OUT, stratify=labels, random_state=SEED)
    train_images, held_out_images, train_labels, held_out_labels = map(torch.from_numpy, parts)
    return Split(train_images, train_labels, held_out_images, held_out_labels)


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Returns the share of the images whose largest logit is their label's, with Dropout off."""
    network.eval()
    with torch.inference_mode():
        return float((network(images).argmax(dim=-1) == labels).double().mean())


def train(network: nn.Module, split: Split, epochs: int) -> Iterator[Epoch]:
    """Trains in place with AdamW and a one-cycle learning rate, and yields the learning curve as it grows."""
    steps = -(-len(split.images) // BATCH_ROWS)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=epochs * steps)
    for _ in range(epochs):
        network.train()
        total = 0.0
        for rows in torch.split(torch.randperm(len(split.images)), BATCH_ROWS):
            loss = cross_entropy(network(split.images[rows]), split.labels[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        yield Epoch(total / len(split.images), accuracy(network, split.held_out_images, split.held_out_labels))


def write(network: nn.Module, score: float, path: Path) -> None:
    """Writes the state_dict as safetensors, with what one needs to know to repeat and to credit it."""
    metadata = {
        "accuracy": f"{score:.4f}",
        "split": f"train_test_split(test_size={HELD_OUT}, stratify=labels, random_state={SEED})",
        "input": "pixels / 16",
        "data": "Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak), UCI, as in scikit-learn",
        "data_licence": "CC BY 4.0",
        "trained_by": "examples/train_digits.py",
    }
    path.write_bytes(save(network.state_dict(), metadata))


def plot(curve: Sequence[Epoch], path: Path) -> None:
    """Draws loss and accuracy over the epochs into an image file."""
    try:
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        message = "--plot needs matplotlib: pip install matplotlib"
        raise SystemExit(message) from error
    figure, (above, below) = pyplot.subplots(2, sharex=True, layout="constrained")
    above.plot([epoch.loss for epoch in curve])
    above.set(ylabel="training loss", title="digits")
    below.plot([epoch.accuracy for epoch in curve])
    below.set(ylabel="held-out accuracy", xlabel="epoch")
    figure.savefig(path)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Train the digits model and write its weights.")
    parser.add_argument("--output", type=Path, default=BUNDLED, help="where to write (default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="draw the learning curve into this image file")
    return parser.parse_args()


def main() -> int:
    """Trains, scores and writes."""
    options = arguments()
    # One thread makes the sums of a matrix product, and so the weights, the same in every run.
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    split, network = load_split(), Network()
    epochs = train(network, split, EPOCHS)
    console = Console(stderr=True)
    curve = list(track(epochs, "Training", total=EPOCHS, console=console, disable=not console.is_terminal))
    write(network, curve[-1].accuracy, options.output)
    if options.plot:
        plot(curve, options.plot)
    print(f"{curve[-1].accuracy:.4f} of {len(split.held_out_labels)} held-out images, written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

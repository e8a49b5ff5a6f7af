"""The models that the package brings along, which `gradserve serve --examples` serves.

What they are, and no more: nothing here builds a network. Weights lie beside this file as safetensors, float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from gradserve_server.architecture import Architecture, Layer, mlp


@dataclass(frozen=True)
class BundledModel:
    """A model to serve: its initial weights come either from a seed or from a file, never from both.

    Attributes:
        name: The name that it is served under.
        description: What it is, in a line.
        architecture: Its layers.
        seed: What its weights are drawn from, as after `torch.manual_seed(seed)`.
        weights_file: The safetensors file of its state_dict, in this package.
    """

    name: str
    description: str
    architecture: Architecture
    seed: int | None = None
    weights_file: str | None = None

    def __post_init__(self) -> None:
        if (self.seed is None) == (self.weights_file is None):
            raise ValueError(f"{self.name}: give either a seed or a weights_file")

    def read_weights(self) -> bytes | None:
        """The content of `weights_file`; None where the weights come from a seed."""
        if self.weights_file is None:
            return None
        return resources.files(__name__).joinpath(self.weights_file).read_bytes()


_MODELS = (
    BundledModel(
        name="digits",
        description="Reads a handwritten digit: 8 x 8 pixels / 16 in, the logits of 0 to 9 out.",
        architecture=Architecture(
            (
                Layer("Linear", {"in_features": 64, "out_features": 128}),
                Layer("ReLU"),
                Layer("Dropout", {"p": 0.3}),
                Layer("Linear", {"in_features": 128, "out_features": 64}),
                Layer("ReLU"),
                Layer("Linear", {"in_features": 64, "out_features": 10}),
            )
        ),
        weights_file="digits.safetensors",
    ),
    BundledModel(
        name="logistic-regression",
        description="sigmoid(2.2 x): a gradient that one can check by hand.",
        architecture=Architecture((Layer("Linear", {"in_features": 1, "out_features": 1}), Layer("Sigmoid"))),
        weights_file="logistic-regression.safetensors",
    ),
    BundledModel(
        name="mlp-50-30-20-3",
        description="A classifier of three classes, untrained: 2213 parameters drawn from seed 0.",
        architecture=mlp(50, (30, 20), 3, "ReLU"),
        seed=0,
    ),
)

BUNDLED: Mapping[str, BundledModel] = MappingProxyType({model.name: model for model in _MODELS})
"""The models by name, sorted."""

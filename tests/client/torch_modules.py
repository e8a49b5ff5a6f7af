"""Modules as people write them: each computes a chain of layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Functional(nn.Module):
    """Submodules and functions, dropout as it should be, and a part that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Sequential(nn.Linear(8, 8, bias=False), nn.GELU("tanh"))
        self.out = nn.Linear(8, 3)
        self.out.bias.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Flatten, then two hidden layers."""
        x = torch.flatten(x, 1)
        x = functional.relu(self.norm(self.fc1(x)))
        x = functional.dropout(self.head(x), 0.25, self.training)
        return self.out(x).log_softmax(dim=-1)


class Looping(nn.Module):
    """Layers in a list, one activation for all of them, and modules within modules."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)) for _ in range(2))
        self.activation = nn.Tanh()
        self.unwrapped = nn.ModuleDict({"last": nn.Linear(6, 3)})

    def forward(self, x: Tensor) -> Tensor:
        """Go through the blocks, each with the activation behind it."""
        for block in self.blocks:
            x = self.activation(block(x))
        return self.unwrapped["last"](input=x)


class Plain(nn.Module):
    """The shape that models have on a server."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        return self.layers(x)


def nested() -> nn.Module:
    """Return Sequentials in Sequentials."""
    return nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.ReLU6()), nn.Sequential(nn.Sequential(nn.Linear(5, 3))))


MODULES = {
    "functions": Functional,
    "loop": Looping,
    "plain": Plain,
    "nested": nested,
    "one layer": lambda: nn.Linear(6, 3),
    "no weights": lambda: nn.Sequential(nn.ReLU(), nn.Tanh()),
    "double": lambda: nested().double(),
    "bfloat16": lambda: nested().bfloat16(),
}
"""Each makes a module of 6 features, with new weights."""

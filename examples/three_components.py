"""A tour of the three parts of PyTorch that Gradserve serves: tensors, autograd, and the network.

Each step asks a running server, does the same with torch in process, prints both, and compares them bit by bit. The
exit code is 0 if all are equal.

    make serve                                           # in another terminal
    .venv/bin/python examples/three_components.py        # asks localhost:50051, or GRADSERVE_TARGET if it is set
"""

from __future__ import annotations

import math
import secrets
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, cross_entropy

import gradserve
from gradserve import Layer, Sequential

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 123
SHOWN = 3


@dataclass(frozen=True)
class Step:
    """One thing, computed on the server and here."""

    what: str
    served: Tensor
    local: Tensor

    @property
    def equal(self) -> bool:
        """Whether dtype, shape and every value agree."""
        return self.served.dtype == self.local.dtype and torch.equal(self.served, self.local)


class MLP(nn.Module):
    """What the server builds: a module whose only child is `layers`, so that its parameters are `layers.<i>.<name>`."""

    def __init__(self, *layers: nn.Module) -> None:
        """Take the layers in order."""
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        output: Tensor = self.layers(x)
        return output


@contextmanager
def temporary(
    client: gradserve.Client, architecture: gradserve.MLP | Sequential, dtype: str = "float32"
) -> Iterator[gradserve.Model]:
    """A model for one step, drawn from SEED, on the server's CPU: there it can be compared with torch here."""
    name = f"tour-{secrets.token_hex(4)}"
    try:
        yield client.create_model(name, architecture, seed=SEED, dtype=dtype, device="cpu")
    finally:
        client.delete_model(name)


def tensors(client: gradserve.Client) -> Iterator[Step]:
    """Tensors: every rank, every floating dtype and any memory layout, through a model that returns what it gets."""
    identity = Sequential([Layer("Identity")])
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        with temporary(client, identity, str(dtype).removeprefix("torch.")) as model:
            x = torch.randn(2, 3, dtype=dtype)
            yield Step(f"{dtype}", model(x), x)
    with temporary(client, identity) as model:
        for shape in ((), (3,), (2, 3), (2, 3, 4)):
            x = torch.randn(shape)
            yield Step(f"rank {x.dim()}", model(x), x)
        transposed = torch.arange(6.0).reshape(2, 3).T
        yield Step("a transposed tensor, as it reads", model(transposed), transposed)
        numbers = [[1.0, 2.5], [float("inf"), -0.5]]
        yield Step("nested lists", torch.from_numpy(model(numbers)), torch.tensor(numbers))


def autograd(client: gradserve.Client) -> Iterator[Step]:
    """Autograd: a loss by parameters and input, a vector-Jacobian product, and one gradient for each row."""
    model, local = client.model("logistic-regression"), MLP(nn.Linear(1, 1), nn.Sigmoid())
    local.load_state_dict({"layers.0.weight": torch.tensor([[2.2]]), "layers.0.bias": torch.zeros(1)})
    x, target = torch.tensor([[1.1]], requires_grad=True), torch.ones(1, 1)
    loss = binary_cross_entropy(local(x), target)
    leaves = {**dict(local.named_parameters()), "input": x}
    g = model.gradient(x, target, loss="binary_cross_entropy", wrt=["*", "input"], deterministic=True)
    yield Step("loss = binary_cross_entropy(sigmoid(2.2 * 1.1), 1)", g.loss, loss.detach())
    for name, gradient in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
        yield Step(f"d loss / d {name}", g[name], gradient)

    x, v = torch.tensor([[-1.0], [0.0], [1.0]], requires_grad=True), torch.tensor([[1.0], [10.0], [100.0]])
    (product,) = torch.autograd.grad(local(x), x, v)
    g = model.gradient(x, grad_output=v, wrt="input", deterministic=True)
    yield Step("v times d output / d input", g.input, product)

    weight = leaves["layers.0.weight"]
    rows = [torch.autograd.grad(local(row).sum(), weight)[0] for row in torch.split(x, 1)]
    g = model.gradient(x, loss="sum", per_sample=True, wrt="layers.0.weight", deterministic=True)
    yield Step("d output / d layers.0.weight, row by row", g["layers.0.weight"], torch.stack(rows))


def network(client: gradserve.Client) -> Iterator[Step]:
    """Network: the same seed gives the same weights, so the same outputs, Dropout masks and gradients."""
    torch.manual_seed(SEED)
    local = MLP(nn.Linear(50, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 3))
    x, target = torch.randn(8, 50), torch.randint(3, (8,))
    layers = [Layer("ReLU"), Layer("Dropout", p=0.5), Layer("Linear", in_features=30, out_features=3)]
    with temporary(client, Sequential([Layer("Linear", in_features=50, out_features=30), *layers])) as model:
        print(f"\n{model.info().text}")
        sizes = torch.tensor([math.prod(parameter.shape) for _, parameter in model.named_parameters()])
        yield Step("elements of each parameter", sizes, torch.tensor([p.numel() for p in local.parameters()]))
        yield Step("model.eval()(x)", model(x, deterministic=True), local.eval()(x).detach())

        torch.manual_seed(7)
        loss = cross_entropy(local.train()(x), target)
        gradients = torch.autograd.grad(loss, list(local.parameters()))
        g = model.gradient(x, target, loss="cross_entropy", training=True, seed=7, deterministic=True)
        yield Step("loss = cross_entropy(model.train()(x), target), after manual_seed(7)", g.loss, loss.detach())
        for (name, _), gradient in zip(local.named_parameters(), gradients, strict=True):
            yield Step(f"d loss / d {name}", g[name], gradient)

        double = local.eval().double()(x.double()).detach()
        yield Step("model.double()(x)", model.to(dtype="float64")(x, deterministic=True), double)


def show(step: Step) -> None:
    """Print both sides of a step, the first values of each."""
    print(f"\n{step.what}")
    for side, tensor in (("gradserve", step.served), ("torch", step.local)):
        values = ", ".join(f"{value:.6g}" for value in tensor.flatten()[:SHOWN].tolist())
        more = ", ..." if tensor.numel() > SHOWN else ""
        print(f"  {side:9}  {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}: {values}{more}")
    print("  equal" if step.equal else "  DIFFERENT")


def walk(client: gradserve.Client) -> Iterator[Step]:
    """The three parts, each announced by its first line."""
    for part in (tensors, autograd, network):
        print(f"\n=== {part.__doc__}")
        yield from part(client)


def main() -> int:
    """Show every step; return 1 if any differs."""
    steps = []
    with gradserve.Client() as client:
        # The order in which a sum is formed depends on the number of threads.
        torch.set_num_threads(client.server_info().num_threads)
        torch.manual_seed(SEED)
        for step in walk(client):
            show(step)
            steps.append(step.equal)
    print(f"\n{sum(steps)} of {len(steps)} steps are equal to torch in process.")
    return 0 if all(steps) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except gradserve.UnavailableError as error:
        sys.exit(f"{error}\nIs there a server? `make serve` starts one.")

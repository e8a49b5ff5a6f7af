"""torch.func over a remote module: what it gives over the same layers in process, or why it cannot."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils._pytree import tree_leaves

import gradserve
from gradserve.torch import RemoteModule
from tests.client.remote_module.conftest import Make

# torch.func and forward mode use torch.jit, which torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

ROWS = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
ROW = ROWS[1]
DIRECTION = torch.linspace(1, 2, 12, dtype=torch.float64).reshape(3, 4)
COTANGENT = torch.linspace(2, 3, 9, dtype=torch.float64).reshape(3, 3)

Call = Callable[[torch.Tensor], torch.Tensor]


def loss(module: Call, x: torch.Tensor) -> torch.Tensor:
    return module(x).square().sum()


def loss_by_parameters(module: nn.Module, parameters: dict[str, torch.Tensor], x: torch.Tensor = ROWS) -> torch.Tensor:
    return functional_call(module, parameters, (x,)).square().sum()


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


TRANSFORMED: dict[str, Callable[[nn.Module], object]] = {
    "grad": lambda module: grad(partial(loss, module))(ROWS),
    "vjp": lambda module: vjp(module, ROWS)[1](COTANGENT),
    "jvp": lambda module: jvp(module, (ROWS,), (DIRECTION,)),
    "jacrev": lambda module: jacrev(module)(ROWS),
    "jacfwd": lambda module: jacfwd(module)(ROWS),
    "jacrev of one row": lambda module: jacrev(module)(ROW),
    "hessian": lambda module: hessian(module)(ROW),
    "hessian of a loss": lambda module: hessian(partial(loss, module))(ROWS),
    "jacrev of jacrev": lambda module: jacrev(jacrev(module))(ROW),
    "jacrev of jacfwd": lambda module: jacrev(jacfwd(module))(ROW),
    "vmap": lambda module: vmap(module)(ROWS),
    "vmap over columns": lambda module: vmap(module, in_dims=1)(DIRECTION.new_ones(4, 5)),
    "vmap over batches": lambda module: vmap(module)(torch.stack([ROWS, DIRECTION])),
    "vmap of vmap": lambda module: vmap(vmap(module))(torch.stack([ROWS, DIRECTION])),
    "vmap of grad": lambda module: vmap(grad(partial(loss, module)))(ROWS),
    "vmap of jacrev": lambda module: vmap(jacrev(module))(ROWS),
    "vmap of jacfwd": lambda module: vmap(jacfwd(module))(ROWS),
    "vmap of hessian": lambda module: vmap(hessian(module))(ROWS),
    "vmap over tangents": lambda module: vmap(lambda tangent: jvp(module, (ROW,), (tangent,))[1])(DIRECTION),
    "grad by parameters": lambda module: grad(partial(loss_by_parameters, module))(weights(module)),
    "grad by parameters, of each row": lambda module: vmap(
        grad(partial(loss_by_parameters, module)), in_dims=(None, 0)
    )(weights(module), ROWS),
    "jvp by parameters": lambda module: jvp(
        partial(loss_by_parameters, module), (weights(module),), (weights(module),)
    ),
    "jacrev by parameters": lambda module: jacrev(lambda given: functional_call(module, given, (ROW,)))(
        weights(module)
    ),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_a_transform_gives_what_it_gives_in_process(mlp: RemoteModule, name: str):
    local = nn.ModuleDict({"layers": mlp.layers})
    local.forward = mlp.layers.forward
    expected, given = TRANSFORMED[name](local), TRANSFORMED[name](mlp)
    for one, other in zip(tree_leaves(expected), tree_leaves(given), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 4)], ids=str)
def test_examples_keep_the_rank_that_layers_see(make: Make, shape: tuple[int, ...]):
    remote = make(
        [gradserve.Layer("Flatten"), gradserve.Layer("Tanh")] if len(shape) > 2 else [gradserve.Layer("Tanh")]
    )
    x = torch.randn(5, *shape, dtype=torch.float64)
    torch.testing.assert_close(vmap(remote)(x), torch.stack([remote.layers(example) for example in x]))


def test_a_jacobian_in_training_has_the_masks_of_its_forward(make: Make):
    remote = make([gradserve.Layer("Linear", in_features=4, out_features=8), gradserve.Layer("Dropout", p=0.5)])
    jacobian, output = jacrev(lambda x: (remote(x),) * 2, has_aux=True)(ROW)
    assert 0 < (output == 0).sum() < 8
    assert torch.equal(jacobian.any(dim=1), output != 0)


REFUSED: dict[str, tuple[Callable[[RemoteModule], object], str]] = {
    "third derivatives": (lambda module: jacrev(hessian(partial(loss, module)))(ROW), "third derivatives"),
    "forward over forward": (lambda module: jacfwd(jacfwd(module))(ROW), "forward-mode derivatives of forward-mode"),
    "gradients by parameters of examples of several rows": (
        lambda module: vmap(grad(partial(loss_by_parameters, module)), in_dims=(None, 0))(
            weights(module), torch.stack([ROWS, DIRECTION])
        ),
        "map over single rows",
    ),
    "products by parameters for each example": (
        lambda module: vmap(
            lambda x: jvp(lambda given: functional_call(module, given, (x,)), (weights(module),), (weights(module),))
        )(ROWS),
        "vmap over other derivatives by parameters",
    ),
    "parameters for each example": (
        lambda module: vmap(lambda scale: functional_call(module, {"layers.2.bias": scale.expand(3)}, (ROW,)))(ROW),
        "vmap over parameters",
    ),
    "second derivatives of a Jacobian by parameters": (
        lambda module: jacrev(jacrev(lambda given: functional_call(module, given, (ROW,))))(weights(module)),
        "not differentiated again",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_says_why(mlp: RemoteModule, name: str):
    call, reason = REFUSED[name]
    with pytest.raises(NotImplementedError, match=reason):
        call(mlp)


def test_examples_that_draw_random_numbers_are_refused(make: Make):
    remote = make([gradserve.Layer("Dropout")])
    with pytest.raises(NotImplementedError, match="vmap in training"):
        vmap(remote, randomness="same")(ROWS)

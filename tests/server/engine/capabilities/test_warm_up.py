"""The first forward and backward of a model."""

import itertools

import pytest

from gradserve_server.architecture import Architecture, Layer
from gradserve_server.config import Limits
from gradserve_server.engine.building import build
from gradserve_server.engine.capabilities.warm_up import warm_up
from gradserve_server.errors import InvalidArgument, ResourceExhausted


def linears(*widths: int) -> tuple[Layer, ...]:
    return tuple(
        Layer("Linear", {"in_features": before, "out_features": after}) for before, after in itertools.pairwise(widths)
    )


def norm(kind: str, **arguments: int) -> Layer:
    return Layer(kind, arguments)


EVERYTHING = ("Forward", "Gradient", "Jvp", "Hvp", "Jacobian", "CheckGradients")
FLATTEN, GLU = Layer("Flatten"), Layer("GLU")


@pytest.mark.parametrize(
    "layers",
    [
        (Layer("Identity"),),
        (GLU, GLU),
        linears(3, 4, 2),
        (GLU, *linears(3, 4, 2)),
        (norm("LayerNorm", normalized_shape=1), FLATTEN, GLU, *linears(4, 1)),
        (norm("LayerNorm", normalized_shape=1), *linears(1, 2), FLATTEN, *linears(4, 1)),
        (*linears(4, 5, 6, 7, 8, 9, 10, 11), FLATTEN, *linears(33, 2)),
        (*linears(3, 4, 6, 7, 8, 9, 10), norm("BatchNorm1d", num_features=5)),
        (norm("BatchNorm1d", num_features=3), FLATTEN, *linears(15, 2)),
        (norm("GroupNorm", num_groups=3, num_channels=3), *linears(4, 2)),
        (norm("PReLU", num_parameters=5), *linears(7, 2)),
    ],
    ids=lambda layers: " ".join(layer.type for layer in layers),
)
def test_a_sound_stack_is_warmed_up_and_supports_every_operation(cpu, layers):
    assert warm_up(build(Architecture(layers), 0, "float32", cpu, Limits())) == EVERYTHING


def test_a_layer_without_a_second_derivative_in_torch_leaves_out_hvp(cpu):
    layers = (*linears(3, 4), Layer("Hardsigmoid"), *linears(4, 2))
    assert warm_up(build(Architecture(layers), 0, "float32", cpu, Limits())) == tuple(
        name for name in EVERYTHING if name != "Hvp"
    )


def test_statistics_over_the_rows_of_each_batch_leave_out_jacobian(cpu):
    layers = (*linears(3, 4), Layer("BatchNorm1d", {"num_features": 4, "track_running_stats": False}))
    assert "Jacobian" not in warm_up(build(Architecture(layers), 0, "float32", cpu, Limits()))


@pytest.mark.parametrize(
    "layers", [(*linears(3, 4), *linears(5, 6)), (*linears(3, 3), GLU), (GLU,) * 256], ids=["widths", "odd", "halvings"]
)
def test_a_stack_that_takes_no_input_is_refused(cpu, layers):
    with pytest.raises(InvalidArgument, match="do not fit each other"):
        warm_up(build(Architecture(layers), 0, "float32", cpu, Limits()))


def test_a_stack_that_needs_more_elements_than_allowed_is_refused(cpu):
    with pytest.raises(ResourceExhausted):
        warm_up(build(Architecture(linears(1, 1000)), 0, "float32", cpu, Limits(max_elements=1999)))

"""What is checked before computing, what is remembered of it, and what may be computed together."""

import numpy as np
import pytest

from gradserve_server.engine import forward
from gradserve_server.engine.gradients import gradient
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.calls import ForwardCall, GradientCall, LossCall

LINEAR = ("Linear", {"in_features": 4, "out_features": 3})


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def key_of(model, shape, **options):
    return forward.prepare(model, ForwardCall(zeros(*shape), **options)).key


@pytest.mark.parametrize(
    ("layers", "shapes"),
    [
        ((LINEAR, "ReLU"), [(4,), (1, 4), (5, 4), (2, 3, 4)]),
        (("Softmax",), [(), (1,), (3, 1)]),
        ((("LayerNorm", {"normalized_shape": (3, 4)}),), [(3, 4), (1, 3, 4), (2, 2, 3, 4)]),
        ((("GroupNorm", {"num_groups": 1, "num_channels": 4}),), [(1, 4), (7, 4)]),
        (("Flatten", ("Linear", {"in_features": 6, "out_features": 2})), [(1, 2, 3), (5, 2, 3)]),
        ((("PReLU", {"num_parameters": 1}),), [(4,), (2, 4)]),
        ((LINEAR, "Dropout"), [(1, 4), (2, 4)]),
    ],
    ids=str,
)
def test_inputs_that_differ_only_in_rows_have_a_key_in_common(model_of, layers, shapes):
    model = model_of(*layers)
    keys = {key_of(model, shape) for shape in shapes}
    assert len(keys) == 1
    assert None not in keys


@pytest.mark.parametrize(
    ("layers", "first", "second"),
    [
        (("ReLU",), (2, 4), (2, 5)),
        ((("BatchNorm1d", {"num_features": 3}),), (2, 3, 4), (2, 3, 5)),
        (("Flatten",), (2, 2, 3), (2, 3, 2)),
        ((("PReLU", {"num_parameters": 3}),), (2, 3), (2, 3, 1)),
    ],
    ids=str,
)
def test_inputs_that_cannot_be_joined_have_other_keys(model_of, layers, first, second):
    model = model_of(*layers)
    assert key_of(model, first) != key_of(model, second)


@pytest.mark.parametrize(
    ("layers", "shape", "options"),
    [
        ((LINEAR,), (2, 4), {"deterministic": True}),
        ((LINEAR,), (0, 4), {}),
        ((LINEAR, "Dropout"), (2, 4), {"training": True}),
        ((("BatchNorm1d", {"num_features": 4}),), (2, 4), {"training": True}),
        ((("BatchNorm1d", {"num_features": 4, "track_running_stats": False}),), (2, 4), {}),
        (("Flatten", ("LayerNorm", {"normalized_shape": (2, 6)})), (2, 2, 3), {}),
    ],
    ids=str,
)
def test_what_uses_the_module_or_mixes_rows_has_no_key(model_of, layers, shape, options):
    assert key_of(model_of(*layers), shape, **options) is None


def test_per_sample_has_no_key(model_of):
    call = GradientCall(zeros(2, 4), loss=LossCall("sum"), per_sample=True)
    assert gradient.prepare(model_of(LINEAR), call).key is None


def test_requests_for_large_gradients_share_no_key(model_of):
    model = model_of(("Linear", {"in_features": 300, "out_features": 300}))
    call = GradientCall(zeros(2, 300), loss=LossCall("sum"))
    assert gradient.prepare(model, call).key != gradient.prepare(model, call).key


def test_training_a_model_without_random_layers_is_computed_with_the_others(model_of):
    model = model_of(LINEAR, "ReLU")
    assert key_of(model, (2, 4), training=True) == key_of(model, (1, 4)) is not None


def test_the_cost_grows_with_rows_and_a_gradient_costs_three_forwards(model_of):
    model = model_of(LINEAR)
    works = [forward.prepare(model, ForwardCall(zeros(*shape))) for shape in ((1, 4), (2, 3, 4))]
    derivative = gradient.prepare(model, GradientCall(zeros(1, 4), loss=LossCall("sum")))
    assert [(work.rows, work.cost) for work in (*works, derivative)] == [(1, 15), (6, 90), (1, 45)]


def test_equal_signatures_are_checked_once(model_of):
    model = model_of(LINEAR)
    plans = [
        model.gradient_plans.plan(GradientCall(x, loss=LossCall("mse_loss", x[:, :3])))
        for x in (zeros(2, 4), np.ones((2, 4), np.float32))
    ]
    assert plans[0] is plans[1]


def test_what_is_remembered_is_bounded_in_number_and_length(model_of):
    plans = model_of(LINEAR).gradient_plans
    for rows in range(1, 1000):
        plans.plan(GradientCall(zeros(rows, 4), loss=LossCall("sum"), form=object()))
    before = plans._remembered.cache_info()
    long = tuple("*" * count for count in range(1, 100))
    plans.plan(GradientCall(zeros(1, 4), loss=LossCall("sum"), wrt=long))

    assert before.currsize == before.maxsize < 1000
    assert len(plans._of_forms) < 1000
    assert plans._remembered.cache_info() == before


@pytest.mark.parametrize(
    ("accepted", "refused"), [(1, True), (1.0, True), (0.0, False)], ids=["int, bool", "float, bool", "zero, false"]
)
def test_arguments_that_python_takes_for_equal_are_checked_by_their_own_type(model_of, accepted, refused):
    model = model_of(LINEAR)

    def prepare(margin):
        loss = LossCall("hinge_embedding_loss", zeros(2, 3), arguments={"margin": margin})
        return gradient.prepare(model, GradientCall(zeros(2, 4), loss=loss))

    prepare(accepted)
    with pytest.raises(InvalidArgument, match="takes a number"):
        prepare(refused)


@pytest.mark.parametrize("ids", [[0, 3], [-1, 0]], ids=str)
def test_class_ids_are_checked_at_each_request(model_of, ids):
    model = model_of(LINEAR)
    for target in ([0, 2], ids):
        call = GradientCall(zeros(2, 4), loss=LossCall("cross_entropy", np.array(target)))
        if target is not ids:
            gradient.prepare(model, call)
    with pytest.raises(InvalidArgument, match="out of range for 3 classes"):
        gradient.prepare(model, call)

"""Several requests in one batch: what one of them meets is no matter of the others."""

import threading

import numpy as np
import pytest
import torch

from gradserve_server.engine import forward
from gradserve_server.engine.gradients import gradient
from gradserve_server.errors import InvalidArgument, Unimplemented
from gradserve_server.operations.calls import ForwardCall, GradientCall, LossCall

LINEAR = ("Linear", {"in_features": 4, "out_features": 3})


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def gradients(model, *calls):
    works = [gradient.prepare(model, call) for call in calls]
    assert len({work.key for work in works}) == 1
    return gradient.compute(model, works)


def test_an_output_that_a_loss_refuses_is_refused_alone(model_of):
    model = model_of("Identity")
    losses = [LossCall("binary_cross_entropy", 0 * ones(1, 4)) for _ in range(2)]
    calls = [
        GradientCall(scale * ones(1, 4), loss=loss, wrt=("input",))
        for scale, loss in zip((0.5, 2), losses, strict=True)
    ]

    fine, refused = gradients(model, *calls)

    np.testing.assert_allclose(fine.gradients["input"], ones(1, 4) / 2)
    assert isinstance(refused, InvalidArgument)
    assert refused.field == "loss.name"


def test_a_loss_without_a_kernel_is_refused_alone(model_of):
    model = model_of(LINEAR, dtype="float16")
    missing = LossCall("multilabel_margin_loss", np.array([[0, -1, -1]]))

    first, refused, second = gradients(
        model,
        GradientCall(ones(1, 4), loss=LossCall("sum")),
        GradientCall(ones(1, 4), loss=missing),
        GradientCall(ones(1, 4), loss=LossCall("sum")),
    )

    assert isinstance(refused, Unimplemented)
    np.testing.assert_array_equal(first.gradients["layers.0.bias"], [1, 1, 1])
    np.testing.assert_array_equal(second.gradients["layers.0.bias"], [1, 1, 1])


def test_a_nan_stays_with_its_request(model_of):
    model = model_of(LINEAR, "ReLU")
    calls = [GradientCall(value * ones(2, 4), loss=LossCall("mean"), wrt=("*", "input")) for value in (1, np.nan, -1)]

    first, spoiled, second = gradients(model, *calls)

    assert np.isnan(spoiled.loss)
    for result in (first, second):
        assert all(np.isfinite(array).all() for array in (result.loss, *result.gradients.values()))


@pytest.mark.parametrize("wrt", ["input", "*"])
def test_each_result_tells_whether_it_is_finite(model_of, wrt):
    model = model_of(LINEAR, "ReLU")
    inputs = [value * ones(2, 4) for value in (1, np.nan, -1)]

    outputs = forward.compute(model, [forward.prepare(model, ForwardCall(x)) for x in inputs])
    calls = [GradientCall(x, loss=LossCall("mean"), wrt=(wrt,)) for x in inputs]

    assert [output.is_finite for output in outputs] == [True, False, True]
    assert [found.is_finite for found in gradients(model, *calls)] == [True, False, True]


def test_a_mean_over_ignored_classes_alone_is_nan_without_a_gradient(model_of):
    model = model_of(LINEAR)
    targets = ([0, 1], [-100, -100], [-100, 2])
    calls = [
        GradientCall(ones(2, 4), loss=LossCall("cross_entropy", np.array(target)), wrt=("input",)) for target in targets
    ]

    first, ignored, partly = gradients(model, *calls)

    assert np.isnan(ignored.loss)
    assert not ignored.gradients["input"].any()
    assert not partly.gradients["input"][0].any()
    assert partly.gradients["input"][1].any()
    assert np.isfinite(first.loss)


def test_results_have_the_shape_and_the_dtype_of_each_callers_input(model_of):
    model = model_of(LINEAR)
    inputs = [np.ones(4), np.ones((2, 3, 4), np.float16), ones(5, 4)]

    results = gradients(
        model, *(GradientCall(x, loss=LossCall("sum"), wrt=("input",), return_output=True) for x in inputs)
    )

    for x, result in zip(inputs, results, strict=True):
        assert (result.gradients["input"].shape, result.gradients["input"].dtype) == (x.shape, x.dtype)
        assert (result.output.shape, result.output.dtype) == ((*x.shape[:-1], 3), np.float32)
        assert result.loss.shape == ()


def test_a_batch_is_computed_in_evaluation_while_another_thread_trains(model_of):
    model = model_of(LINEAR, ("BatchNorm1d", {"num_features": 3}), "Dropout")
    evaluated = [forward.prepare(model, ForwardCall(value * ones(1, 4))) for value in (1, 2)]
    trained = [forward.prepare(model, ForwardCall(np.eye(4, dtype=np.float32), training=True, seed=0))]
    expected = [result.output for result in forward.compute(model, evaluated)]
    stop = threading.Event()

    def train():
        while not stop.is_set():
            forward.compute(model, trained)

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        for _ in range(300):
            found = [result.output for result in forward.compute(model, evaluated)]
            np.testing.assert_array_equal(found, expected)
    finally:
        stop.set()
        trainer.join()
    assert torch.equal(model.module.state_dict()["layers.1.running_mean"], torch.zeros(3))

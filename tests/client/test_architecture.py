"""Architectures: values that compare, hash and print as what they say."""

import pytest

import gradserve

LINEAR = gradserve.Layer("Linear", in_features=2, out_features=1)


def test_a_layer_prints_as_the_call_that_makes_it():
    assert repr(LINEAR) == "Layer('Linear', in_features=2, out_features=1)"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (LINEAR, gradserve.Layer("Linear", out_features=1, in_features=2)),
        (gradserve.Layer("LayerNorm", normalized_shape=[3]), gradserve.Layer("LayerNorm", normalized_shape=(3,))),
        (gradserve.Sequential([LINEAR]), gradserve.Sequential(layer for layer in (LINEAR,))),
        (gradserve.MLP(2, [3], 1), gradserve.MLP(2, (3,), 1, activation="ReLU")),
    ],
    ids=["order of arguments", "list or tuple in a layer", "any iterable of layers", "list or tuple of widths"],
)
def test_what_means_the_same_is_equal_and_hashes_as_one(first: object, second: object):
    assert first == second
    assert hash(first) == hash(second)


def test_the_callers_own_list_is_not_kept():
    widths = [3]
    mlp = gradserve.MLP(2, widths, 1)
    widths.append(4)
    assert mlp.hidden_features == (3,)

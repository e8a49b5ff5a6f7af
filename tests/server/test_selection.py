"""What `wrt` and the globs of `requires_grad` select."""

import pytest

from gradserve_server.errors import FailedPrecondition, InvalidArgument
from gradserve_server.selection import Selection, select, updated_flags

FLAGS = {"layers.0.weight": True, "layers.0.bias": True, "layers.2.weight": False, "layers.2.bias": True}
TRAINABLE = ("layers.0.weight", "layers.0.bias", "layers.2.bias")


@pytest.mark.parametrize(
    ("wrt", "parameters", "of_input"),
    [
        ((), TRAINABLE, False),
        (("*",), TRAINABLE, False),
        (("input",), (), True),
        (("*", "input"), TRAINABLE, True),
        (("layers.2.*",), ("layers.2.bias",), False),
        (("*.bias", "layers.0.*"), TRAINABLE, False),
        (("layers.2.bias", "layers.0.bias"), ("layers.0.bias", "layers.2.bias"), False),
        (("layers.[02].bias",), ("layers.0.bias", "layers.2.bias"), False),
        (("layers.2.weight*", "input"), (), True),
    ],
)
def test_wrt_is_a_union_of_globs_in_the_order_of_the_parameters(wrt, parameters, of_input):
    assert select(wrt, FLAGS) == Selection(parameters, of_input)


@pytest.mark.parametrize(
    ("wrt", "refusal", "field"),
    [
        (("layers.1.*",), InvalidArgument, "wrt[0]"),
        (("*", "inpu?"), InvalidArgument, "wrt[1]"),
        (("LAYERS.0.bias",), InvalidArgument, "wrt[0]"),
        (("",), InvalidArgument, "wrt[0]"),
        (("input", "input"), InvalidArgument, "wrt[1]"),
        (("*", "layers.0.bias", "*"), InvalidArgument, "wrt[2]"),
        (("layers.2.weight",), FailedPrecondition, "wrt[0]"),
        (("layers.2.weight*",), FailedPrecondition, "wrt"),
    ],
)
def test_wrt_that_selects_nothing_or_says_it_twice_is_refused(wrt, refusal, field):
    with pytest.raises(refusal) as caught:
        select(wrt, FLAGS)
    assert caught.value.field == field


def test_without_a_parameter_that_requires_grad_an_empty_wrt_is_refused():
    with pytest.raises(FailedPrecondition) as caught:
        select((), dict.fromkeys(FLAGS, False))
    assert caught.value.reason == "NOTHING_REQUIRES_GRAD"


def test_the_later_of_two_changes_to_a_flag_wins():
    flags = updated_flags([("*", False), ("*.bias", True), ("layers.2.bias", False)], FLAGS)
    assert [name for name, flag in flags.items() if flag] == ["layers.0.bias"]


def test_a_change_to_flags_that_matches_no_parameter_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        updated_flags([("*", True), ("layers.9.*", True)], FLAGS)
    assert caught.value.field == "requires_grad[1].parameters"


@pytest.mark.parametrize("globs", [["input"] * 1025, ["x" * 513]], ids=["many", "long"])
def test_globs_that_would_take_long_are_refused_unread(globs):
    with pytest.raises(InvalidArgument, match=r"at most 1024|more than 512"):
        select(globs, FLAGS)
    with pytest.raises(InvalidArgument, match=r"at most 1024|more than 512"):
        updated_flags([(glob, True) for glob in globs], FLAGS)

"""Requests that are parsed by forms that were seen before mean what protocol buffers make of them."""

import sys
from contextlib import suppress

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given

from gradserve import codec
from gradserve.v1 import inference_pb2, tensor_pb2
from gradserve_server.engine.plans.signature import signature_of
from gradserve_server.errors import ServiceError
from gradserve_server.servicers.calls import forward_call, gradient_call
from gradserve_server.servicers.forms import forward_forms, gradient_forms
from tests.support.readings import outcome

Forward, Gradient = inference_pb2.ForwardRequest, inference_pb2.GradientRequest

METHODS = {Forward: (forward_forms, forward_call), Gradient: (gradient_forms, gradient_call)}
UNKNOWN = b"\xf8\x07\x01"
"""A field of number 127, which no message has."""

MODELS = st.sampled_from(["", "a", "b", "ab", "é", "a" * 127, "a" * 200])
DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.bool_, ml_dtypes.bfloat16])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@st.composite
def tensors(draw):
    """Tensors of few kinds, so that many are alike; some of them malformed, or with more than tensors have."""
    value = np.full(draw(SHAPES), draw(st.integers(0, 2))).astype(draw(DTYPES))
    tensor = codec.encode(value)
    match draw(st.integers(0, 9)):
        case 0:
            tensor.data = tensor.data[:-1]
        case 1:
            tensor.MergeFromString(UNKNOWN)
    return tensor


ARGUMENTS = st.dictionaries(
    st.sampled_from(["beta", "weight"]),
    st.builds(inference_pb2.LossArgument, double_value=st.just(2.0))
    | st.builds(inference_pb2.LossArgument, tensor_value=tensors()),
)
LOSSES = st.builds(
    inference_pb2.Loss,
    name=st.sampled_from(["", "sum", "mse_loss"]),
    target=st.none() | tensors(),
    reduction=st.sampled_from(["", "sum"]),
    arguments=ARGUMENTS,
)
OPTIONS = {"training": st.booleans(), "deterministic": st.booleans()}
OF_GRADIENT = {
    "loss": st.none() | LOSSES,
    "grad_output": st.none() | tensors(),
    "wrt": st.lists(st.sampled_from(["*", "input"]), max_size=2),
    "return_output": st.booleans(),
    "max_norm": st.sampled_from([0.0, 1.0]),
    "per_sample_result": st.integers(0, 5),
}


def whole(kind):
    """Requests as encoders write them."""
    own = OF_GRADIENT if kind is Gradient else {}
    few = st.builds(kind, model=st.sampled_from(["a", "b"]), input=tensors())
    return few | st.builds(kind, model=MODELS, input=tensors(), **OPTIONS, **own)


def parts(kind):
    """Requests of one field, or some that others do not have."""
    own = OF_GRADIENT if kind is Gradient else {}
    fields = {"model": MODELS, "input": tensors(), "seed": st.integers(-1, 1), "if_version": st.integers(0, 1)}
    found = [st.builds(kind, **{name: values}) for name, values in {**fields, **OPTIONS, **own}.items()]
    found.append(st.builds(kind, input=st.builds(tensor_pb2.Tensor, data=st.binary(max_size=4))))
    return st.one_of(*found).map(kind.SerializeToString) | st.just(UNKNOWN)


@st.composite
def cut(draw, kind):
    """The bytes of a request, some of which are others."""
    data = bytearray(draw(whole(kind)).SerializeToString())
    if data:
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def messages(kind):
    """The bytes of requests, and of what are none."""
    in_any_order = st.lists(parts(kind), max_size=5).map(b"".join)
    return whole(kind).map(kind.SerializeToString) | in_any_order | cut(kind) | st.binary(max_size=8)


def by_protobuf(kind):
    """Parses without forms."""
    _, read = METHODS[kind]

    def parse(data):
        request = kind.FromString(data)
        return request.model, lambda: read(request)

    return parse


def check(kind, requests):
    """Parse requests one after the other, and hold each against what protocol buffers make of it."""
    forms = METHODS[kind][0]()
    for data in requests:
        assert outcome(forms.parse, data) == outcome(by_protobuf(kind), data)


@given(st.lists(messages(Forward), max_size=30))
def test_what_was_seen_before_changes_nothing_of_a_forward(requests):
    check(Forward, [data for data in requests for _ in range(2)])


@given(st.lists(messages(Gradient), max_size=30))
def test_what_was_seen_before_changes_nothing_of_a_gradient(requests):
    check(Gradient, [data for data in requests for _ in range(2)])


@given(st.lists(messages(Gradient), min_size=1, max_size=30))
def test_gradients_of_one_form_have_all_but_their_numbers_in_common(requests):
    forms, seen = gradient_forms(), {}
    for data in [data for data in requests for _ in range(3)]:
        with suppress(DecodeError, ServiceError):
            call = forms.parse(data).read()
            common = signature_of(call), call.max_norm, call.seed, call.if_version
            assert call.form is None or seen.setdefault(call.form, common) == common


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param(Forward, {}, id="forward"),
        pytest.param(Gradient, {"loss": {"name": "sum"}}, id="loss without a target"),
        pytest.param(Gradient, {"loss": {"name": "mse_loss", "target": True, "reduction": "sum"}}, id="target"),
        pytest.param(Gradient, {"grad_output": True, "wrt": ["input"]}, id="vector"),
        pytest.param(
            Gradient,
            {"loss": {"name": "mse_loss", "target": True, "reduction": "none"}, "grad_output": True, "wrt": ["*"]},
            id="target and vector",
        ),
    ],
)
def test_alike_requests_have_their_own_numbers(kind, options):
    def encoded(value):
        return codec.encode(np.full((2, 3), value, np.float32))

    def request(number):
        own = dict(options)
        if own.get("grad_output"):
            own["grad_output"] = encoded(number + 1)
        if own.get("loss", {}).get("target"):
            own["loss"] = own["loss"] | {"target": encoded(number + 2)}
        return kind(model="m", input=encoded(number), **own).SerializeToString()

    check(kind, [request(number) for number in (0, 7, 9)])


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param([Forward(training=True), Forward(deterministic=True)], id="another option"),
        pytest.param([Forward(seed=1), Forward(seed=2)], id="another seed"),
        pytest.param([Forward(if_version=1), Forward(if_version=2)], id="another version"),
    ],
)
def test_what_comes_behind_the_numbers_counts(ends):
    start = Forward(model="m", input=codec.encode(np.ones(3))).SerializeToString()

    check(Forward, [start + end.SerializeToString() for end in ends for _ in range(2)])


def test_a_field_that_says_its_default_is_not_taken_for_another():
    start = Forward(model="m", input=codec.encode(np.ones(3))).SerializeToString()
    training = Forward(training=True).SerializeToString()

    check(Forward, [start + training[:-1] + b"\0", start + training])


def test_a_byte_that_is_no_bool_is_refused_also_where_a_bool_was_there_before():
    request = Forward(model="m", input=codec.encode(np.ones(3, bool))).SerializeToString()

    check(Forward, [request, request[:-1] + b"\2"])


def test_more_forms_than_are_remembered_are_read():
    requests = [Forward(model="m", input=codec.encode(np.zeros(width, np.float16))) for width in range(2000)]

    check(Forward, [request.SerializeToString() for request in requests])


def test_the_bytes_of_a_long_request_are_not_kept_beside_its_numbers():
    forms = forward_forms()
    data = Forward(model="m", input=codec.encode(np.zeros(2**20))).SerializeToString()
    before = sys.getrefcount(data)

    readable = forms.parse(data)

    assert sys.getrefcount(data) == before
    assert readable.read().input.shape == (2**20,)

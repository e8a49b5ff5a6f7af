"""ForwardRequests that are parsed by what was seen before mean what protocol buffers make of them."""

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given

from gradserve import codec
from gradserve.v1 import inference_pb2, tensor_pb2
from gradserve_server.errors import InvalidArgument
from gradserve_server.servicers.calls import forward_call
from gradserve_server.servicers.forward_requests import ForwardRequests

Request = inference_pb2.ForwardRequest

MODELS = st.sampled_from(["", "a", "b", "ab", "é", "a" * 127, "a" * 200])
DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int16, np.bool_, ml_dtypes.bfloat16])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
VALUES = st.sampled_from([0, 1, 2.5])


@st.composite
def tensors(draw):
    """Tensors of few kinds, so that many are alike; some of them malformed."""
    value = np.full(draw(SHAPES), draw(VALUES)).astype(draw(DTYPES))
    tensor = codec.encode(value)
    if draw(st.integers(0, 9)) == 0:
        tensor.data = tensor.data[:-1]
    return tensor


FIELDS = (
    st.builds(Request, model=MODELS)
    | st.builds(Request, input=tensors())
    | st.builds(Request, input=st.builds(tensor_pb2.Tensor, data=st.binary(max_size=4)))
    | st.builds(Request, training=st.booleans(), deterministic=st.booleans())
    | st.builds(Request, seed=st.integers(-1, 1))
    | st.builds(Request, if_version=st.integers(0, 1))
)
WHOLE = st.builds(
    Request, model=MODELS, input=tensors(), training=st.booleans(), deterministic=st.booleans()
) | st.builds(Request, model=st.sampled_from(["a", "b"]), input=tensors())
IN_ORDER = WHOLE.map(Request.SerializeToString)
IN_ANY_ORDER = st.lists(FIELDS.map(Request.SerializeToString), max_size=5).map(b"".join)


@st.composite
def cut(draw):
    """A message with a few bytes that are others."""
    data = bytearray(draw(IN_ORDER))
    if data:
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def outcome(parse, data):
    """What a request says, or how it is refused."""
    try:
        model, read = parse(data)
    except DecodeError:
        return "malformed"
    try:
        call = read()
    except InvalidArgument as refusal:
        return model, refusal.field, str(refusal)
    value = call.input
    options = call.training, call.seed, call.deterministic, call.if_version
    return model, value.dtype, value.shape, value.tobytes(), value.flags.aligned, options


def by_protobuf(data):
    request = Request.FromString(data)
    return request.model, lambda: forward_call(request)


@given(st.lists(IN_ORDER | IN_ANY_ORDER | cut() | st.binary(max_size=8), max_size=40))
def test_what_was_seen_before_changes_nothing(messages):
    requests = ForwardRequests()

    for data in messages:
        for _ in range(2):
            assert outcome(requests.parse, data) == outcome(by_protobuf, data)


def test_alike_requests_have_their_own_numbers():
    requests = ForwardRequests()

    for number in range(3):
        value = np.full((2, 5), number, np.float32)
        data = Request(model="m", input=codec.encode(value)).SerializeToString()

        np.testing.assert_array_equal(requests.parse(data).read().input, value)


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param([Request(training=True), Request(deterministic=True)], id="another option"),
        pytest.param([Request(seed=1), Request(seed=2)], id="another seed"),
        pytest.param([Request(if_version=1), Request(if_version=2)], id="another version"),
    ],
)
def test_what_comes_behind_the_numbers_counts(ends):
    requests = ForwardRequests()

    for end in (*ends, *ends):
        whole = Request(model="m", input=codec.encode(np.ones(3)))
        whole.MergeFrom(end)
        data = whole.SerializeToString()

        assert outcome(requests.parse, data) == outcome(by_protobuf, data)


def test_a_field_that_says_its_default_is_not_taken_for_another():
    requests = ForwardRequests()
    start = Request(model="m", input=codec.encode(np.ones(3))).SerializeToString()
    training = Request(training=True).SerializeToString()

    assert not requests.parse(start + training[:-1] + b"\0").read().training
    assert requests.parse(start + training).read().training


def test_more_forms_than_are_remembered_are_read():
    requests = ForwardRequests()

    for width in range(2000):
        data = Request(model="m", input=codec.encode(np.zeros(width, np.float16))).SerializeToString()

        assert requests.parse(data).read().input.shape == (width,)

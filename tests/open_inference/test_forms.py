"""ModelInferRequests that are parsed by forms that were seen before mean what protocol buffers make of them."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from gradserve_server.open_inference.forms import infer_call, infer_forms
from gradserve_server.open_inference.grpc_service_pb2 import InferParameter, ModelInferRequest
from tests.support.readings import outcome

TENSOR = ModelInferRequest.InferInputTensor
DTYPES = {"FP32": np.float32, "FP16": np.float16, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.uint8}
SHAPES = st.sampled_from([[], [0], [1, 3], [2, 3], [3, 2]])
OUTPUTS = st.sampled_from(["output", "loss", "other"]).map(
    lambda name: ModelInferRequest.InferRequestedOutputTensor(name=name)
)
PARAMETERS = {"loss": InferParameter(string_param="sum"), "timeout": InferParameter(int64_param=5)}


@st.composite
def requests(draw):
    """Requests of few kinds, so that many are alike; some of them malformed."""
    names = draw(st.sampled_from([["input"], ["input"], ["input"], ["input", "grad_output"], ["other"], []]))
    inputs, raw = [], []
    for name in names:
        shape, datatype = draw(SHAPES), draw(st.sampled_from(sorted(DTYPES)))
        inputs.append(TENSOR(name=name, datatype=datatype, shape=shape))
        raw.append(np.full(shape, draw(st.integers(0, 2))).astype(DTYPES[datatype]).tobytes())
    if raw and draw(st.integers(0, 9)) == 0:
        raw[0] += b"x"
    return ModelInferRequest(
        model_name=draw(st.sampled_from(["a", "b", "a.gradient"])),
        model_version=draw(st.sampled_from(["", "", "", "1", "x"])),
        id=draw(st.sampled_from(["", "", "", "1", "2"])),
        parameters={name: PARAMETERS[name] for name in draw(st.lists(st.sampled_from(sorted(PARAMETERS)), max_size=2))},
        inputs=inputs,
        outputs=draw(st.lists(OUTPUTS, max_size=2)),
        raw_input_contents=raw,
    )


def by_protobuf(data):
    """Parse without forms."""
    request = ModelInferRequest.FromString(data)
    return request.model_name, request, lambda: infer_call(request)


def without_numbers(request):
    """What a reply or a refusal is made of."""
    plain = ModelInferRequest()
    plain.CopyFrom(request)
    plain.ClearField("raw_input_contents")
    return plain


@given(st.lists(requests(), max_size=30))
def test_what_was_seen_before_changes_nothing(messages):
    forms = infer_forms()

    for data in [message.SerializeToString() for message in messages for _ in range(2)]:
        assert outcome(forms.parse, data) == outcome(by_protobuf, data)
        if outcome(by_protobuf, data) != "malformed":
            assert without_numbers(forms.parse(data).request) == without_numbers(by_protobuf(data)[1])


def test_alike_requests_have_their_own_numbers_and_share_the_rest():
    forms = infer_forms()
    tensor = TENSOR(name="input", datatype="FP32", shape=[1, 3])

    def parsed(number):
        raw = np.full((1, 3), number, np.float32).tobytes()
        request = ModelInferRequest(model_name="a", inputs=[tensor], raw_input_contents=[raw])
        return forms.parse(request.SerializeToString())

    values = [parsed(number).read().input for number in range(3)]

    np.testing.assert_array_equal(np.concatenate(values), [[0] * 3, [1] * 3, [2] * 3])
    assert parsed(3).request is parsed(4).request

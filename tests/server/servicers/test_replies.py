"""Replies built as bytes are what protocol buffers make of the same message."""

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

from gradserve import codec
from gradserve.v1 import inference_pb2
from gradserve_server.operations.results import ForwardResult, GradientResult
from gradserve_server.servicers.replies import forward_reply, gradient_reply

DTYPES = st.sampled_from([np.float16, np.float32, np.float64]).map(np.dtype)
TENSORS = arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)) | arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=1, max_dims=3)
).map(lambda array: array.astype(ml_dtypes.bfloat16))
VERSIONS = st.integers(1, 2**63 - 1)
SEEDS = st.none() | st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(TENSORS, VERSIONS, SEEDS)
def test_a_forward_reply_is_that_message(output, version, seed):
    expected = inference_pb2.ForwardResponse(output=codec.encode(output), version=version, seed=seed)
    assert inference_pb2.ForwardResponse.FromString(forward_reply(ForwardResult(output, seed), version)) == expected


@given(st.none() | TENSORS, st.none() | TENSORS, st.dictionaries(NAMES, TENSORS, max_size=4), VERSIONS, SEEDS)
def test_a_gradient_reply_is_that_message(loss, output, gradients, version, seed):
    expected = inference_pb2.GradientResponse(
        loss=None if loss is None else codec.encode(loss),
        output=None if output is None else codec.encode(output),
        gradients={name: codec.encode(gradient) for name, gradient in gradients.items()},
        version=version,
        seed=seed,
    )
    reply = gradient_reply(GradientResult(loss, output, gradients, seed), version)
    assert inference_pb2.GradientResponse.FromString(reply) == expected


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("strided", [False, True])
def test_a_large_tensor_is_sent_as_it_reads_not_as_it_lies(dtype, strided):
    array = np.arange(90_000, dtype=np.float32).reshape(300, 300).astype(dtype)
    output = array.T if strided else array
    reply = inference_pb2.ForwardResponse.FromString(forward_reply(ForwardResult(output, None), 1))
    assert codec.decode(reply.output).tobytes() == output.tobytes()

"""Random cases of Gradient with several vectors, and with one of the results of per-sample gradients."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from tests.properties.case import Case
from tests.properties.cases import gradient_cases
from tests.properties.losses import PAIRS
from tests.properties.sample import FLOATS

RESULTS = ("FULL", "NORMS", "CLIPPED_SUM")

_VECTORS = st.sampled_from([1, 2, 3, 7])
_MAX_NORMS = st.sampled_from([0.01, 0.5, 1.0, 7.0])
_UNREDUCED = [None, None, *(pair for pair in PAIRS if pair.reduction == "none")]


@st.composite
def vector_cases(draw: st.DrawFn, dtypes: tuple[str, ...] = FLOATS) -> Case:
    """A model and a GradientRequest with several vectors for one input."""
    case = draw(gradient_cases(draw(st.sampled_from(_UNREDUCED)), dtypes, by_row=st.just(False)))
    assert case.grad_output is not None
    vectors = replace(case.grad_output, shape=(draw(_VECTORS), *case.grad_output.shape))
    return replace(case, grad_output=vectors, is_grads_batched=True)


@st.composite
def result_cases(draw: st.DrawFn, result: str, dtypes: tuple[str, ...] = FLOATS) -> Case:
    """A model and a GradientRequest for its rows, of which that result is asked."""
    case = draw(gradient_cases(draw(st.sampled_from([None, *PAIRS])), dtypes, by_row=st.just(True)))
    if result != "CLIPPED_SUM":
        return replace(case, per_sample_result=result)
    parameters = tuple(name for name in case.wrt if name != "input")
    if case.wrt and not parameters:
        # There is no sum of the input's gradients, and perhaps nothing else to differentiate by.
        return replace(case, per_sample_result="NORMS")
    return replace(case, wrt=parameters, per_sample_result=result, max_norm=draw(_MAX_NORMS))

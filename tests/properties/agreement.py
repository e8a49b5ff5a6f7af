"""When two answers count as the same numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tests.support.oracle import Answer

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 3e-2, "bfloat16": 2e-1}
"""How far, relative to the largest element, a number may lie off where the order of additions is free.

One addition rounds by half the dtype's epsilon: 1.1e-16, 6.0e-8, 4.9e-4 and 3.9e-3. A number here has passed through
up to five layers of at most 64 terms each and as many backwards, so a few dozen epsilons are usual. The bounds leave
a further factor for the activations that steepen an error, above all the normalisations, which divide by a
deviation as small as 0.1.
"""


def disagreements(actual: Answer, expected: Answer, *, dtype: str, exact: bool) -> Iterator[str]:
    """Say in words what differs; nothing if the answers agree.

    Args:
        actual: The server's.
        expected: torch's.
        dtype: The model's.
        exact: Whether every bit counts.
    """
    tolerance = 0.0 if exact else TOLERANCES[dtype]
    found, wanted = _tensors(actual), _tensors(expected)
    if set(found) != set(wanted):
        yield f"the answer holds {sorted(found)}, not {sorted(wanted)}"
        return
    for name, tensor in wanted.items():
        yield from _difference(name, found[name], tensor, tolerance)


def _tensors(answer: Answer) -> dict[str, torch.Tensor]:
    """All that an answer holds, by what it is."""
    return {
        "output": answer.output,
        **({} if answer.loss is None else {"loss": answer.loss}),
        **({} if answer.norms is None else {"norms": answer.norms}),
        **{f"gradient of {name}": gradient for name, gradient in answer.gradients.items()},
        **{f"product {name}": product for name, product in answer.products.items()},
    }


def _difference(name: str, actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> Iterator[str]:
    if (actual.dtype, actual.shape) != (expected.dtype, expected.shape):
        yield f"{name} is {actual.dtype} {list(actual.shape)}, not {expected.dtype} {list(expected.shape)}"
        return
    finite = expected[expected.isfinite()].double().abs()
    scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
    if not torch.allclose(actual.double(), expected.double(), rtol=0, atol=tolerance * scale, equal_nan=True):
        yield f"{name} differs by more than {tolerance * scale}:\n{actual}\nis not\n{expected}"

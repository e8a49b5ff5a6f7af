"""Every way to ask Jvp and Hvp wrongly that is not one to ask Gradient wrongly, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from grpc import StatusCode

from gradserve.v1 import inference_pb2, tensor_pb2
from tests.integration.bad_inference import BAD_TENSORS, CLASSES, FROZEN, MSE, SQUARE, WIDE, X, Y, loss
from tests.integration.bad_input import VICTIM, Row, tensor

WEIGHT = "layers.0.weight"
Tensors = Mapping[str, tensor_pb2.Tensor]


def jvp(tangents: Tensors, model: str = VICTIM, x: tensor_pb2.Tensor = X, **fields: object) -> inference_pb2.JvpRequest:
    """A JvpRequest that is good but for the fields that a row gives."""
    return inference_pb2.JvpRequest(model=model, input=x, tangents=tangents, **fields)


def hvp(vectors: Tensors, model: str = VICTIM, x: tensor_pb2.Tensor = X, **fields: object) -> inference_pb2.HvpRequest:
    """An HvpRequest of a sum that is good but for the fields that a row gives."""
    if not fields.keys() & {"loss", "grad_output"}:
        fields["loss"] = loss("sum")
    return inference_pb2.HvpRequest(model=model, input=x, vectors=vectors, **fields)


def _shared_rows() -> Iterator[Row]:
    """What is wrong with directions, whatever they are called."""
    for make, name, batched in ((jvp, "tangents", "is_tangents_batched"), (hvp, "vectors", "is_vectors_batched")):
        yield Row("no directions", make({}), name)
        for unknown in ("weight", "", "layers.0.*", "INPUT"):
            yield Row(f"a direction of {unknown!r}", make({unknown: X}), f"{name}[{unknown}]")
        for title, part, bad in BAD_TENSORS:
            yield Row(f"a direction {title}", make({"input": bad}), f"{name}[input].{part}")
        integers = tensor(2, 4, dtype="int32")
        yield Row("a direction of integers", make({"input": integers}), f"{name}[input].dtype")
        for shape in ((2, 3), (4,), (1, 2, 4)):
            yield Row(f"a direction of {shape}", make({"input": tensor(*shape)}), f"{name}[input].shape")
        for shape in ((2, 4), (0, 2, 4), (3, 2, 3), ()):
            several = make({"input": tensor(*shape)}, **{batched: True})
            yield Row(f"several directions of {shape}", several, f"{name}[input].shape")
        unequal = make({"input": tensor(3, 2, 4), WEIGHT: tensor(2, 3, 4)}, **{batched: True})
        yield Row("two directions beside three", unequal, None, says=("directions where another holds",))
        many = make({"input": tensor(16_385, 1, 4)}, x=tensor(1, 4), **{batched: True})
        yield Row("too many directions", many, name, StatusCode.RESOURCE_EXHAUSTED, ("16384",))
        other = make({"input": X}, if_version=7)
        yield Row("another version", other, "if_version", StatusCode.FAILED_PRECONDITION)
        yield Row("no input", type(other)(model=VICTIM), "input")


def _jvp_rows() -> Iterator[Row]:
    too_large = StatusCode.RESOURCE_EXHAUSTED
    many = jvp({"layers.0.bias": tensor(2_000, 1000)}, WIDE, tensor(10, 1), is_tangents_batched=True)
    yield Row("too large a reply", many, "tangents", too_large, ("fewer directions",))
    yield Row(
        "too many rows for a reply",
        jvp({"input": tensor(17_000, 1)}, WIDE, tensor(17_000, 1)),
        "input.shape",
        too_large,
    )


def _hvp_rows() -> Iterator[Row]:
    frozen, too_large = StatusCode.FAILED_PRECONDITION, StatusCode.RESOURCE_EXHAUSTED
    yield Row("neither loss nor grad_output", hvp({"input": X}, grad_output=None), "loss")
    yield Row("both, reduced", hvp({"input": X}, loss=MSE, grad_output=Y), "grad_output")
    yield Row("reduction none alone", hvp({"input": X}, loss=loss("mse_loss", Y, "none")), "loss.reduction")
    yield Row("a target that would broadcast", hvp({"input": X}, loss=loss("mse_loss", tensor(2, 1))), "loss.target")
    yield Row("a vector of a frozen parameter", hvp({WEIGHT: tensor(3, 4)}, FROZEN), f"vectors[{WEIGHT}]", frozen)
    yield Row("a frozen row", hvp({"input": X}, FROZEN, wrt=[WEIGHT]), "wrt[0]", frozen)
    yield Row("an unknown row", hvp({"input": X}, wrt=["weight"]), "wrt[0]")
    wide = hvp({"input": tensor(20, 2, 1000)}, SQUARE, tensor(2, 1000), wrt=["*"], is_vectors_batched=True)
    yield Row("too large a reply", wide, "wrt", too_large, ("fewer vectors",))
    margin = hvp({"input": X}, loss=loss("multi_margin_loss", CLASSES))
    yield Row("a loss without a second derivative", margin, "loss.name", StatusCode.UNIMPLEMENTED)


ROWS = (*_shared_rows(), *_jvp_rows(), *_hvp_rows())

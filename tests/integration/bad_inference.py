"""Every way to ask Forward and Gradient wrongly, row by row."""

from __future__ import annotations

from collections.abc import Iterator

from grpc import StatusCode

from gradserve.v1 import inference_pb2, model_pb2, tensor_pb2
from tests.integration.bad_input import VICTIM, Row, architecture, data_type, layer, linear, tensor, values

ForwardRequest = inference_pb2.ForwardRequest
GradientRequest = inference_pb2.GradientRequest
Loss = inference_pb2.Loss
Argument = inference_pb2.LossArgument

WIDE = "bad-input-wide"
FROZEN = "bad-input-frozen"
NORM = "bad-input-norm"
BARE = "bad-input-bare"
HALF = "bad-input-half"
SQUARE = "bad-input-square"

# WIDE answers many numbers for one, and SQUARE has many parameters.
MODELS = (
    model_pb2.CreateModelRequest(name=VICTIM, architecture=architecture(linear(4, 3)), seed=0),
    model_pb2.CreateModelRequest(name=FROZEN, architecture=architecture(linear(4, 3))),
    model_pb2.CreateModelRequest(name=WIDE, architecture=architecture(linear(1, 1000))),
    model_pb2.CreateModelRequest(name=SQUARE, architecture=architecture(linear(1000, 1000))),
    model_pb2.CreateModelRequest(name=NORM, architecture=architecture(layer("BatchNorm1d", num_features=4))),
    model_pb2.CreateModelRequest(name=BARE, architecture=architecture(layer("ReLU"))),
    model_pb2.CreateModelRequest(name=HALF, architecture=architecture(linear(4, 3)), dtype=data_type("float16")),
)
FREEZE = model_pb2.UpdateModelRequest(
    name=FROZEN,
    update_mask={"paths": ["requires_grad"]},
    requires_grad=[model_pb2.RequiresGrad(parameters="layers.0.*", requires_grad=False)],
)

X = tensor(2, 4)
Y = tensor(2, 3)
CLASSES = values([0, 2], "int64")
MSE = Loss(name="mse_loss", target=Y)

# What is wrong with each tensor, the part of it at fault, and the tensor.
BAD_TENSORS = (
    ("without dtype", "dtype", tensor_pb2.Tensor(shape=[2, 4], data=bytes(32))),
    ("of an unknown dtype", "dtype", tensor_pb2.Tensor(dtype=99, shape=[2, 4], data=bytes(32))),
    ("without data", "data", tensor(2, 4, data=b"")),
    ("of one byte too few", "data", tensor(2, 4, data=bytes(31))),
    ("of one byte too many", "data", tensor(2, 4, data=bytes(33))),
    ("of a negative dimension", "shape", tensor(-2, -4, data=bytes(32))),
    ("of rank 9", "shape", tensor(1, 1, 1, 1, 1, 1, 1, 2, 4)),
    ("whose size overflows", "shape", tensor(2**62, 2, data=b"")),
    ("whose size overflows to what was sent", "shape", tensor(2**32, 2**32, 4, data=b"")),
    ("whose size overflows beside a zero", "shape", tensor(0, 2**62, 2**62, data=b"")),
    ("of a million dimensions", "shape", tensor(*[1] * 1_000_000, data=bytes(4))),
    ("of bools that are neither 0 nor 1", "data", tensor(2, 4, dtype="bool", data=b"\2" * 8)),
)


def gradient(model: str = VICTIM, x: tensor_pb2.Tensor = X, **fields: object) -> GradientRequest:
    """A GradientRequest that is good but for the fields that a row gives."""
    return GradientRequest(model=model, input=x, **fields)


def loss(name: str, target: tensor_pb2.Tensor | None = None, reduction: str = "", /, **arguments: Argument) -> Loss:
    return Loss(name=name, target=target, reduction=reduction, arguments=arguments)


def number(value: float) -> Argument:
    return Argument(double_value=value)


def _tensor_rows() -> Iterator[Row]:
    weight = "loss.arguments[weight]"
    for title, part, bad in BAD_TENSORS:
        yield Row(f"an input {title}", ForwardRequest(model=VICTIM, input=bad), f"input.{part}")
        yield Row(f"an input {title}", gradient(x=bad, loss=MSE), f"input.{part}")
        yield Row(f"a target {title}", gradient(loss=loss("mse_loss", bad)), f"loss.target.{part}")
        yield Row(f"a grad_output {title}", gradient(grad_output=bad), f"grad_output.{part}")
        weighted = loss("mse_loss", Y, weight=Argument(tensor_value=bad))
        yield Row(f"a weight {title}", gradient(loss=weighted), f"{weight}.{part}")


def _model_rows() -> Iterator[Row]:
    names = ("", "a" * 129, "../x", "a\0b", "a\n", "Upper")
    for make in (lambda name: ForwardRequest(model=name, input=X), lambda name: gradient(name, loss=MSE)):
        yield Row("no such model", make("nobody"), "model", StatusCode.NOT_FOUND, ("nobody",))
        yield from (Row(f"the name {name[:8]!r}", make(name), "model") for name in names)


def _version_rows() -> Iterator[Row]:
    mismatch = StatusCode.FAILED_PRECONDITION
    for version in (0, 2, -1, 2**63 - 1):
        forward = ForwardRequest(model=VICTIM, input=X, if_version=version)
        yield Row(f"version {version}", forward, "if_version", mismatch, ("version 1",))
        yield Row(f"version {version}", gradient(loss=MSE, if_version=version), "if_version", mismatch)


def _input_rows() -> Iterator[Row]:
    too_large = StatusCode.RESOURCE_EXHAUSTED
    wide = tensor(17_000, 1)
    inputs = (
        ("too few features", tensor(2, 3), "input.shape"),
        ("too many features", tensor(2, 5), "input.shape"),
        ("no dimension", tensor(), "input.shape"),
        *((f"an input of {dtype}", tensor(2, 4, dtype=dtype), "input.dtype") for dtype in ("int64", "uint8", "bool")),
    )
    yield Row("no input", ForwardRequest(model=VICTIM), "input")
    yield Row("no input", GradientRequest(model=VICTIM, loss=MSE), "input")
    for title, x, path in inputs:
        yield Row(title, ForwardRequest(model=VICTIM, input=x), path)
        yield Row(title, gradient(x=x, loss=MSE), path)
    many = tensor(2**20 + 1, 4, dtype="float16")
    yield Row("too many rows", ForwardRequest(model=VICTIM, input=many), "input.shape", too_large)
    yield Row("too many elements within", ForwardRequest(model=WIDE, input=tensor(2**18, 1)), "input.shape", too_large)
    yield Row("too large a reply", ForwardRequest(model=WIDE, input=wide), "input.shape", too_large)
    yield Row(
        "too large a reply",
        gradient(SQUARE, tensor(20, 1000), loss=loss("sum"), per_sample=True),
        "wrt",
        too_large,
        ("wrt",),
    )
    one_row = tensor(1, 4)
    yield Row("one row to normalise", ForwardRequest(model=NORM, input=one_row, training=True), "input.shape")


def _loss_rows() -> Iterator[Row]:
    by_none = "loss.reduction"
    yield Row("neither loss nor grad_output", gradient(), "loss", says=("grad_output",))
    yield Row("both, reduced", gradient(loss=MSE, grad_output=Y), "grad_output", says=("none",))
    yield Row("reduction none alone", gradient(loss=loss("mse_loss", Y, "none")), by_none, says=("grad_output",))
    unreduced = gradient(loss=loss("mse_loss", Y, "none"), per_sample=True)
    yield Row("reduction none of more than a scalar a row", unreduced, by_none)
    for reduction in ("max", "Mean", "batchmean"):
        yield Row(f"reduction {reduction}", gradient(loss=loss("mse_loss", Y, reduction)), "loss.reduction")
    yield Row("a reduction of sum", gradient(loss=loss("sum", None, "mean")), "loss.reduction")
    for name in ("", "mse", "MSELoss", "ctc_loss", "__import__"):
        yield Row(f"the loss {name!r}", gradient(loss=loss(name, Y)), "loss.name")
    for name in ("mse_loss", "cross_entropy", "multilabel_margin_loss"):
        yield Row(f"{name} without target", gradient(loss=loss(name)), "loss.target", says=(name,))
    yield Row("sum with a target", gradient(loss=loss("sum", Y)), "loss.target")
    yield Row("an output outside [0, 1]", gradient(loss=loss("binary_cross_entropy", Y)), "loss.name", says=("[0, 1]",))
    nan = values([[float("nan")] * 4] * 2, "float32")
    yield Row("a NaN output", gradient(x=nan, loss=loss("binary_cross_entropy", Y)), "loss.name", says=("[0, 1]",))
    for name, target in (("cross_entropy", tensor(2, 5, dtype="int64")), ("multilabel_margin_loss", CLASSES)):
        at_rank_3 = gradient(x=tensor(2, 5, 4), loss=loss(name, target))
        yield Row(f"{name} at rank 3", at_rank_3, "input.shape", says=("flatten",))


def _target_rows() -> Iterator[Row]:
    targets = (
        ("of too few rows", loss("mse_loss", tensor(1, 3))),
        ("that would broadcast", loss("mse_loss", tensor(2, 1))),
        ("that would broadcast as a scalar", loss("l1_loss", tensor())),
        ("of too many dimensions", loss("huber_loss", tensor(2, 3, 1))),
        ("of integers, for a float loss", loss("mse_loss", tensor(2, 3, dtype="int64"))),
        ("of bools, for a float loss", loss("binary_cross_entropy_with_logits", tensor(2, 3, dtype="bool"))),
        ("of floats, for classes", loss("nll_loss", tensor(2))),
        ("of bools, for classes", loss("cross_entropy", tensor(2, dtype="bool"))),
        ("of too few classes", loss("cross_entropy", tensor(1, dtype="int64"))),
        ("of classes with a dimension too many", loss("nll_loss", tensor(2, 1, dtype="int64"))),
        ("of probabilities in another shape", loss("cross_entropy", tensor(2, 4))),
        ("of labels in another shape", loss("multilabel_margin_loss", tensor(2, dtype="int64"))),
    )
    for title, bad in targets:
        yield Row(f"a target {title}", gradient(loss=bad), "loss.target")
    for wrong in ([0, 3], [-1, 0], [2**62, 0], [-(2**63), 0]):
        for name in ("cross_entropy", "nll_loss", "multi_margin_loss"):
            yield Row(f"{name} of {wrong}", gradient(loss=loss(name, values(wrong, "int64"))), "loss.target")
    ignoring = loss("cross_entropy", values([-100, 0], "int64"), ignore_index=Argument(int_value=1))
    yield Row("the class -100 where 1 is ignored", gradient(loss=ignoring), "loss.target")
    for label in (3, -2):
        labels = values([[0, label, -1]] * 2, "int64")
        yield Row(f"the label {label}", gradient(loss=loss("multilabel_margin_loss", labels)), "loss.target")


def _grad_output_rows() -> Iterator[Row]:
    for shape in ((2, 4), (2,), (1, 3), (2, 3, 1), ()):
        yield Row(f"a grad_output of {shape}", gradient(grad_output=tensor(*shape)), "grad_output.shape")
    yield Row("an integer grad_output", gradient(grad_output=tensor(2, 3, dtype="int32")), "grad_output.dtype")
    unreduced = loss("cross_entropy", CLASSES, "none")
    yield Row("one of the output's shape", gradient(loss=unreduced, grad_output=Y), "grad_output.shape")


def _argument_rows() -> Iterator[Row]:
    floats, integers = Argument(tensor_value=tensor(3)), Argument(tensor_value=tensor(3, dtype="int64"))
    wrong: tuple[tuple[str, str, Argument], ...] = (
        ("mse_loss", "beta", number(1)),
        ("mse_loss", "size_average", Argument(bool_value=True)),
        ("mse_loss", "reduction", number(1)),
        ("mse_loss", "weight", floats),
        ("mse_loss", "weight", number(1)),
        ("cross_entropy", "weight", Argument(tensor_value=tensor(4))),
        ("cross_entropy", "weight", integers),
        ("cross_entropy", "ignore_index", number(0.5)),
        ("cross_entropy", "label_smoothing", floats),
        ("cross_entropy", "label_smoothing", Argument()),
        ("cross_entropy", "label_smoothing", Argument(bool_value=True)),
        ("kl_div", "log_target", number(1)),
    )
    for name, argument, value in wrong:
        target = CLASSES if name == "cross_entropy" else Y
        title = f"{argument} of {name} as {' '.join(str(value).split()[:5])}"
        yield Row(title, gradient(loss=loss(name, target, **{argument: value})), f"loss.arguments[{argument}]")
    yield Row("no var", gradient(loss=loss("gaussian_nll_loss", Y)), "loss.arguments", says=("var",))
    # torch itself refuses these values.
    refused = (
        loss("cross_entropy", CLASSES, label_smoothing=number(1.5)),
        loss("smooth_l1_loss", Y, beta=number(-1)),
        loss("huber_loss", Y, delta=number(0)),
        loss("multi_margin_loss", CLASSES, p=Argument(int_value=3)),
        loss("gaussian_nll_loss", Y, var=number(-1)),
    )
    for bad in refused:
        (argument,) = bad.arguments
        yield Row(f"{argument} of {bad.name} out of range", gradient(loss=bad), None, says=(argument,))


def _wrt_rows() -> Iterator[Row]:
    unknown = ("layers.9.weight", "LAYERS.0.weight", "weight", "layers", "", "input*", "INPUT")
    for name in unknown:
        yield Row(f"wrt {name!r}", gradient(loss=MSE, wrt=[name]), "wrt[0]")
    for name in ("input", "layers.0.weight", "*"):
        yield Row(f"wrt {name!r} twice", gradient(loss=MSE, wrt=[name, name]), "wrt[1]")
    frozen = StatusCode.FAILED_PRECONDITION
    named = gradient(FROZEN, loss=MSE, wrt=["input", "layers.0.weight"])
    yield Row("a frozen parameter by name", named, "wrt[1]", frozen, ("layers.0.weight",))
    yield Row("frozen parameters by glob", gradient(FROZEN, loss=MSE, wrt=["layers.0.*"]), "wrt", frozen)
    summed = loss("sum")
    yield Row("no parameter at all", gradient(BARE, loss=summed), "wrt", frozen)
    alone = gradient(x=tensor(4), loss=summed, per_sample=True)
    yield Row("per_sample without rows", alone, "input.shape")
    mixing = gradient(NORM, loss=summed, per_sample=True, training=True)
    yield Row("per_sample through BatchNorm1d in training", mixing, "per_sample")


def _kernel_rows() -> Iterator[Row]:
    half = gradient(HALF, loss=loss("multi_margin_loss", CLASSES))
    says = ("Gradient", "float16", "cpu")
    yield Row("a loss without a kernel for float16", half, "", StatusCode.UNIMPLEMENTED, says)


ROWS = (
    *_tensor_rows(),
    *_model_rows(),
    *_version_rows(),
    *_input_rows(),
    *_loss_rows(),
    *_target_rows(),
    *_grad_output_rows(),
    *_argument_rows(),
    *_wrt_rows(),
    *_kernel_rows(),
)

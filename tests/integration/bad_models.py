"""Every way to ask ModelService wrongly, row by row."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode

from gradserve.v1 import model_pb2, tensor_pb2
from tests.integration.bad_input import VICTIM, Row, architecture, data_type, layer, layer_argument, linear

CreateModelRequest = model_pb2.CreateModelRequest
GetModelRequest = model_pb2.GetModelRequest
UpdateModelRequest = model_pb2.UpdateModelRequest
DeleteModelRequest = model_pb2.DeleteModelRequest
ListModelsRequest = model_pb2.ListModelsRequest

NEW = "bad-input-new"
GOOD = architecture(linear(4, 3))
TOO_LARGE = StatusCode.RESOURCE_EXHAUSTED
BAD_NAMES = ("", "a" * 129, "../x", "a\0b", "a\nb", "a\n", "a b", "Upper", ".hidden", "-x", "é", "x.gradient")
BAD_DTYPES = (tensor_pb2.DATA_TYPE_INT64, tensor_pb2.DATA_TYPE_BOOL, tensor_pb2.DataType.ValueType(99))


def create(architecture: model_pb2.Architecture = GOOD, **fields: object) -> CreateModelRequest:
    """A CreateModelRequest that is good but for the fields that a row gives."""
    return CreateModelRequest(**{"name": NEW, "architecture": architecture, **fields})


def update(*paths: str, name: str = VICTIM, **fields: object) -> UpdateModelRequest:
    """An UpdateModelRequest that is good but for the fields that a row gives."""
    return UpdateModelRequest(name=name, update_mask=FieldMask(paths=paths), **fields)


def _name_rows() -> Iterator[Row]:
    for name in BAD_NAMES:
        yield Row(f"the name {name[:8]!r}", create(name=name), "name")
        yield Row(f"the name {name[:8]!r}", GetModelRequest(name=name), "name")
        yield Row(f"the name {name[:8]!r}", DeleteModelRequest(name=name), "name")
        yield Row(f"the name {name[:8]!r}", update("device", name=name, device="cpu"), "name")
    missing = StatusCode.NOT_FOUND
    for request in (
        GetModelRequest(name="nobody"),
        DeleteModelRequest(name="nobody"),
        update("device", name="nobody", device="cpu"),
    ):
        yield Row("no such model", request, "name", missing, ("nobody",))
    yield Row("a name that is taken", create(name=VICTIM), "name", StatusCode.ALREADY_EXISTS, (VICTIM,))


def _width_rows() -> Iterator[Row]:
    for width in (0, -1, -(2**63)):
        mlps = (
            ("in_features", model_pb2.MLP(in_features=width, out_features=3)),
            ("hidden_features[1]", model_pb2.MLP(in_features=4, hidden_features=[5, width], out_features=3)),
            ("out_features", model_pb2.MLP(in_features=4, out_features=width)),
        )
        for field, mlp in mlps:
            broken = model_pb2.Architecture(mlp=mlp)
            yield Row(f"an MLP with {field} of {width}", create(broken), f"architecture.mlp.{field}")
        for broken, argument in ((linear(width, 3), "in_features"), (linear(4, width), "out_features")):
            yield Row(f"a Linear with {argument} of {width}", create(architecture(broken)), _argument(argument))
    for width in (10**9, 2**62):
        mlp = model_pb2.Architecture(mlp=model_pb2.MLP(in_features=width, out_features=3))
        yield Row(f"in_features of {width}", create(mlp), "architecture.mlp", TOO_LARGE)
        yield Row(f"a Linear of {width}", create(architecture(linear(4, width))), _argument("out_features"), TOO_LARGE)
    yield Row("too many parameters", create(architecture(linear(2**15, 2**15))), "architecture.sequential", TOO_LARGE)
    each_allowed = architecture(*[linear(2**13, 2**13)] * 5)
    yield Row("too many parameters in all", create(each_allowed), "architecture.sequential", TOO_LARGE)
    deep = architecture(*[layer("ReLU")] * 10_000)
    yield Row("ten thousand layers", create(deep), "architecture.sequential", TOO_LARGE)
    wide = model_pb2.MLP(in_features=1, hidden_features=[1] * 1_000_000, out_features=1)
    many = create(model_pb2.Architecture(mlp=wide))
    yield Row("a million hidden layers", many, "architecture.mlp.hidden_features", TOO_LARGE)


def _layer_rows() -> Iterator[Row]:
    yield Row("no architecture", CreateModelRequest(name=NEW), "architecture")
    yield Row("no layers", create(architecture()), "architecture.sequential")
    yield Row("no widths", create(model_pb2.Architecture(mlp=model_pb2.MLP())), "architecture.mlp.in_features")
    mlp = model_pb2.MLP(in_features=4, hidden_features=[5], out_features=3, activation="relu")
    yield Row("an unknown activation", create(model_pb2.Architecture(mlp=mlp)), "architecture.mlp.activation")
    for kind in ("", "relu", "Conv2d", "Module", "Sequential", "__init__", "functional.relu", "os.system"):
        broken = architecture(linear(4, 3), layer(kind))
        yield Row(f"the layer {kind!r}", create(broken), "architecture.sequential.layers[1].type")
    unfit = architecture(linear(4, 3), linear(4, 3))
    yield Row("layers that do not fit each other", create(unfit), "architecture.sequential")


def _argument_rows() -> Iterator[Row]:
    wrong = (
        (layer("ReLU", inplace=True), "inplace"),
        (layer("Linear", in_features=4, out_features=3, device="cuda"), "device"),
        (layer("Linear", in_features=4.0, out_features=3), "in_features"),
        (layer("Linear", in_features=True, out_features=3), "in_features"),
        (layer("Linear", in_features="4", out_features=3), "in_features"),
        (layer("Linear", in_features=4, out_features=3, bias=1), "bias"),
        (layer("Softmax", dim=0), "dim"),
        (layer("GELU", approximate="exact"), "approximate"),
        (layer("ELU", alpha=float("nan")), "alpha"),
        (layer("LeakyReLU", negative_slope=float("inf")), "negative_slope"),
        (layer("GroupNorm", num_groups=0, num_channels=4), "num_groups"),
    )
    for broken, argument in wrong:
        yield Row(
            f"{broken.type} with the {argument} {_text(broken, argument)}",
            create(architecture(broken)),
            _argument(argument),
        )
    empty = linear(4, 3)
    empty.arguments["bias"].ClearField("value")
    yield Row("an argument without value", create(architecture(empty)), _argument("bias"))
    listed = layer("LayerNorm")
    listed.arguments["normalized_shape"].int_list.values[:] = []
    yield Row("an empty list of sizes", create(architecture(listed)), _argument("normalized_shape"))
    part = layer("Linear")
    part.arguments["in_features"].CopyFrom(layer_argument(4))
    # What only the constructor can tell is a fault of the arguments together.
    together = (part, layer("Dropout", p=1.5), layer("GroupNorm", num_groups=3, num_channels=4))
    for broken in together:
        path = "architecture.sequential.layers[0].arguments"
        yield Row(f"arguments that {broken.type} refuses", create(architecture(broken)), path)


def _argument(name: str) -> str:
    return f"architecture.sequential.layers[0].arguments[{name}]"


def _text(broken: model_pb2.Layer, argument: str) -> str:
    value = broken.arguments[argument]
    return repr(getattr(value, str(value.WhichOneof("value"))))


def _place_rows() -> Iterator[Row]:
    absent = StatusCode.FAILED_PRECONDITION
    for dtype in BAD_DTYPES:
        yield Row(f"the dtype {dtype}", create(dtype=dtype), "dtype")
        yield Row(f"the dtype {dtype}", update("dtype", dtype=dtype), "dtype")
    yield Row("no dtype", update("dtype"), "dtype")
    for device in ("cuda:99", "mps:3", "tpu", "cpu:1", "CPU", "cuda:-1"):
        status = absent if device == "cuda:99" else StatusCode.INVALID_ARGUMENT
        yield Row(f"the device {device}", create(device=device), "device", status)
        yield Row(f"the device {device}", update("device", device=device), "device", status)


def _change_rows() -> Iterator[Row]:
    yield Row("no mask", UpdateModelRequest(name=VICTIM, device="cpu"), "update_mask")
    for path in ("name", "version", "requires_grad.parameters", "*", ""):
        yield Row(f"the mask {path!r}", update("device", path, device="cpu"), "update_mask")
    for parameters in ("", "layers.9.*", "input"):
        flags = [
            model_pb2.RequiresGrad(parameters="*", requires_grad=False),
            model_pb2.RequiresGrad(parameters=parameters),
        ]
        bad = update("requires_grad", requires_grad=flags)
        yield Row(f"the parameters {parameters!r}", bad, "requires_grad[1].parameters")
    half = data_type("float16")
    for version in (0, 2, -1):
        refused = update("dtype", dtype=half, if_version=version)
        yield Row(f"version {version}", refused, "if_version", StatusCode.ABORTED)
        deletion = DeleteModelRequest(name=VICTIM, if_version=version)
        yield Row(f"version {version}", deletion, "if_version", StatusCode.ABORTED)
    # The first half of a change must not happen when the second is refused.
    partly = update("dtype", "device", dtype=half, device="cuda:99")
    yield Row("a good dtype with a bad device", partly, "device", StatusCode.FAILED_PRECONDITION)


def _page_rows() -> Iterator[Row]:
    yield Row("a negative page", ListModelsRequest(page_size=-1), "page_size")
    for token in ("../x", "Upper", "a\0"):
        yield Row(f"the token {token!r}", ListModelsRequest(page_token=token), "page_token")


ROWS = (
    *_name_rows(),
    *_width_rows(),
    *_layer_rows(),
    *_argument_rows(),
    *_place_rows(),
    *_change_rows(),
    *_page_rows(),
)

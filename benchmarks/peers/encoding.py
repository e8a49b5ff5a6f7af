"""What each kind of peer takes and gives: a request for one row of a net, and the numbers in its reply."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.wrappers_pb2 import BytesValue
from numpy.typing import NDArray

from benchmarks.h2load import Endpoint, grpc_endpoint
from benchmarks.nets import Net
from benchmarks.peers import open_inference

Request: TypeAlias = Callable[[str, Net], Endpoint]
"""Makes the request for a server at "HOST:PORT"."""

Output: TypeAlias = Callable[[bytes], NDArray[np.float32]]
"""Reads the numbers of a reply, [1, n]."""


@dataclass(frozen=True)
class Encoding:
    """Requests and replies of one operation.

    Attributes:
        request: Makes a request.
        output: Reads its reply.
    """

    request: Request
    output: Output


def _row(net: Net) -> NDArray[np.float32]:
    return np.asarray(net.input(1))


def _json_post(path: str, content: Callable[[Net], Any]) -> Request:
    def request(target: str, net: Net) -> Endpoint:
        body = json.dumps(content(net)).encode()
        return Endpoint(f"http://{target}{path}", body, ("content-type: application/json",), http1=True)

    return request


def _json_output(read: Callable[[Any], Any]) -> Output:
    return lambda reply: np.array(read(json.loads(reply)), np.float32).reshape(1, -1)


def _array(values: NDArray[np.float32]) -> dict[str, Any]:
    """An array in Tesseract's JSON."""
    data = {"buffer": base64.b64encode(values.tobytes()).decode(), "encoding": "base64"}
    return {"object_type": "array", "shape": values.shape, "dtype": "float32", "data": data}


def _read_array(document: Any) -> NDArray[np.float32]:  # noqa: ANN401 - JSON
    data = document["data"]
    if data["encoding"] == "base64":
        return np.frombuffer(base64.b64decode(data["buffer"]), np.float32)
    return np.array(data["buffer"], np.float32)


def _ones(net: Net) -> NDArray[np.float32]:
    return np.ones((1, net.out_features), np.float32)


OPEN_INFERENCE = Encoding(
    lambda target, net: grpc_endpoint(target, open_inference.METHOD, open_inference.request(net.name, _row(net))),
    open_inference.output,
)
RAW_BYTES = Encoding(
    lambda target, net: grpc_endpoint(
        target,
        "/benchmark.Net/Forward",
        BytesValue(value=_row(net).tobytes()).SerializeToString(),
        "application: net",
    ),
    lambda reply: np.frombuffer(BytesValue.FromString(reply).value, np.float32).reshape(1, -1),
)
LITSERVE = Encoding(
    _json_post("/predict", lambda net: {"input": _row(net)[0].tolist()}), _json_output(lambda reply: reply["output"])
)
BENTOML = Encoding(_json_post("/forward", lambda net: {"x": _row(net).tolist()}), _json_output(lambda reply: reply))
UMBRIDGE = Encoding(
    _json_post("/Evaluate", lambda net: {"name": net.name, "input": _row(net).tolist(), "config": {}}),
    _json_output(lambda reply: reply["output"]),
)
UMBRIDGE_GRADIENT = Encoding(
    _json_post(
        "/Gradient",
        lambda net: {
            "name": net.name,
            "outWrt": 0,
            "inWrt": 0,
            "input": _row(net).tolist(),
            "sens": _ones(net)[0].tolist(),
            "config": {},
        },
    ),
    _json_output(lambda reply: reply["output"]),
)
TESSERACT = Encoding(
    _json_post("/apply", lambda net: {"inputs": {"x": _array(_row(net))}}),
    _json_output(lambda reply: _read_array(reply["y"])),
)
TESSERACT_GRADIENT = Encoding(
    _json_post(
        "/vector_jacobian_product",
        lambda net: {
            "inputs": {"x": _array(_row(net))},
            "vjp_inputs": ["x"],
            "vjp_outputs": ["y"],
            "cotangent_vector": {"y": _array(_ones(net))},
        },
    ),
    _json_output(lambda reply: _read_array(reply["x"])),
)

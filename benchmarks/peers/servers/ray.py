"""Ray Serve: gRPC with raw bytes, requests joined into batches, one replica."""

from __future__ import annotations

import signal
from typing import Any

import grpc
import numpy as np
import ray
from google.protobuf.wrappers_pb2 import BytesValue
from ray import serve
from ray.serve.config import gRPCOptions

from benchmarks.nets import NETS
from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread, from_command_line

_MOST_ROWS = 64


def add_forward(servicer: Any, server: grpc.aio.Server) -> None:
    """Add `/benchmark.Net/Forward`, which takes and gives float32 numbers as bytes."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.Forward, request_deserializer=BytesValue.FromString, response_serializer=BytesValue.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("benchmark.Net", {"Forward": handler}),))


@serve.deployment(num_replicas=1, max_ongoing_requests=512)
class NetDeployment:
    """A net, in Ray's words."""

    def __init__(self, name: str) -> None:
        self._net = NetOnOneThread(NETS[name])

    @serve.batch(max_batch_size=_MOST_ROWS, batch_wait_timeout_s=0.0)
    async def _rows(self, rows: list[np.ndarray[Any, np.dtype[np.float32]]]) -> list[bytes]:
        return [row.tobytes() for row in self._net.forward(np.stack(rows))]

    async def Forward(self, request: BytesValue) -> BytesValue:  # noqa: N802 - the RPC's name
        """The output for one row."""
        return BytesValue(value=await self._rows(np.frombuffer(request.value, np.float32)))


if __name__ == "__main__":
    net, port = from_command_line()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    servicers = ["benchmarks.peers.servers.ray.add_forward"]
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": "127.0.0.1", "port": port + 1},
        grpc_options=gRPCOptions(port=port, grpc_servicer_functions=servicers),
    )
    serve.run(NetDeployment.bind(net.net.name), name="net")
    signal.sigwait([signal.SIGTERM, signal.SIGINT])

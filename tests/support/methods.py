"""Every method that a server serves, and requests of them."""

from functools import reduce

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gradserve.v1 import inference_pb2, model_pb2, state_pb2
from gradserve_server.open_inference import grpc_service_pb2
from gradserve_server.security.rules import RULES

SERVICES = (
    inference_pb2.DESCRIPTOR.services_by_name["InferenceService"],
    model_pb2.DESCRIPTOR.services_by_name["ModelService"],
    state_pb2.DESCRIPTOR.services_by_name["StateService"],
    grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
METHODS = {method.full_name: method for service in SERVICES for method in service.methods}


def path_of(method: str) -> str:
    """How gRPC calls a method."""
    service, _, name = method.rpartition(".")
    return f"/{service}/{name}"


def request_of(method: str, model: str) -> Message:
    """A request of a method, empty but for the model where it names one."""
    message = GetMessageClass(METHODS[method].input_type)()
    *path, field = RULES[method].model.split(".")
    if field:
        setattr(reduce(getattr, path, message), field, model)
    return message

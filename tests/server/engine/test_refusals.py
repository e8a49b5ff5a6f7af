"""What torch raises, told apart."""

import pytest
import torch

from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.errors import InvalidArgument, ResourceExhausted, Unimplemented

CPU = torch.device("cpu")


def refuse(error: Exception) -> None:
    with torch_refusals("Gradient", torch.float16, CPU):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("\"rrelu_with_noise\" not implemented for 'Half'"),
        NotImplementedError("Could not run 'aten::x' with arguments from the 'MPS' backend."),
        RuntimeError("x_cuda does not have a deterministic implementation, but you set"),
    ],
)
def test_a_missing_kernel_is_unimplemented_and_names_operation_dtype_and_device(error):
    with pytest.raises(Unimplemented, match="Gradient in float16 on cpu"):
        refuse(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_no_memory_is_resource_exhausted(error):
    with pytest.raises(ResourceExhausted, match="cpu is out of memory"):
        refuse(error)


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), ValueError("a"), IndexError("a")])
def test_any_other_refusal_of_torch_is_the_requests_fault_in_torchs_first_line(error):
    with pytest.raises(InvalidArgument, match=r"torch refuses this Gradient in float16 on cpu: a$"):
        refuse(error)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: device-side assert"), KeyError("a"), TypeError()])
def test_a_fault_of_the_device_or_of_ours_is_not_blamed_on_the_request(error):
    with pytest.raises(type(error)):
        refuse(error)

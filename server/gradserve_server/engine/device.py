"""The devices of this host, each with the one thread that computes on it."""

from __future__ import annotations

import asyncio
import os
import platform
import re
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import torch

from gradserve_server.engine.faults import is_sticky
from gradserve_server.engine.forward_mode import set_up_forward_mode
from gradserve_server.errors import DeviceFailed, FailedPrecondition, InvalidArgument

_P = ParamSpec("_P")
_T = TypeVar("_T")

_NAME = re.compile(r"auto|cpu|cuda(:\d{1,4})?|mps")


@dataclass(frozen=True)
class Device:
    """One device and its executor.

    A single thread keeps torch's intra-op threads from fighting each other, serialises what touches a module's mode,
    and is all that MPS survives.

    Attributes:
        name: As torch prints it, such as "cuda:0".
        description: What it is.
        memory_bytes: Its memory; 0 where torch does not tell.
        executor: Its thread.
        failure: Done once a device of this host computes nothing any more.
    """

    name: str
    description: str
    memory_bytes: int
    executor: ThreadPoolExecutor = field(repr=False)
    failure: Future[DeviceFailed] = field(repr=False)

    @property
    def is_cpu(self) -> bool:
        """Whether it is the CPU, which any thread can use."""
        return self.name == "cpu"

    @property
    def torch_device(self) -> torch.device:
        """The device in torch's terms."""
        return torch.device(self.name)

    def memory(self) -> dict[str, int]:
        """Its memory in bytes: `total`; and, of a GPU, what tensors hold and what torch has taken from the system."""
        memory = {"total": self.memory_bytes}
        match self.torch_device.type:
            case "cuda":
                memory["allocated"] = torch.cuda.memory_allocated(self.torch_device)
                memory["reserved"] = torch.cuda.memory_reserved(self.torch_device)
            case "mps":
                memory["allocated"] = torch.mps.current_allocated_memory()
                memory["reserved"] = torch.mps.driver_allocated_memory()
        return memory

    async def run(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function on the device's thread. A caller that is cancelled while it still waits is never computed."""
        try:
            return await asyncio.wrap_future(self.executor.submit(function, *args, **kwargs))
        except Exception as error:
            self.examine(error)
            raise

    def examine(self, error: Exception) -> None:
        """Look whether an error of a computation means that the device has failed. May be called on any thread."""
        if is_sticky(error):
            said = next(iter(str(error).splitlines()), "")
            with suppress(InvalidStateError):
                self.failure.set_result(DeviceFailed(f"{self.name} has failed, and the server with it: {said}"))


class Devices:
    """The devices of this host, the best one first: CUDA, then MPS, then the CPU.

    Attributes:
        threads: The threads within one operation on the CPU.
        failure: Done once one of them computes nothing any more.
    """

    def __init__(self, threads: int) -> None:
        """Look what there is.

        Args:
            threads: The threads within one operation on the CPU.
        """
        # Read by cuBLAS when CUDA starts; deterministic algorithms need it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(threads)
        set_up_forward_mode()
        self.threads = threads
        self.failure: Future[DeviceFailed] = Future()
        found = (*_cuda(threads, self.failure), *_mps(threads, self.failure), _cpu(threads, self.failure))
        self._devices = {device.name: device for device in found}

    def all(self) -> tuple[Device, ...]:
        """Every device, the one that "auto" means first."""
        return tuple(self._devices.values())

    def resolve(self, name: str) -> Device:
        """The device of a name.

        Args:
            name: "auto" or empty for the best device, "cpu", "cuda" for the first GPU, "cuda:<n>" or "mps".

        Raises:
            InvalidArgument: If it is not such a name.
            FailedPrecondition: If this host does not have it; says what it has.
        """
        if name in {"", "auto"}:
            return self.all()[0]
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"must be auto, cpu, cuda, cuda:<n> or mps, got {name!r}", field="device")
        if (device := self._devices.get("cuda:0" if name == "cuda" else name)) is None:
            message = f"this host has no {name}; it has: {', '.join(self._devices)}"
            raise FailedPrecondition(message, field="device", reason="DEVICE_ABSENT")
        return device

    def absent(self, name: str) -> Device:
        """A stand-in for a device that a kept model is on and this host does not have; nothing is computed there."""
        return Device(name, "not on this host", 0, self.resolve("cpu").executor, self.failure)

    def close(self, timeout: float | None = None) -> bool:
        """Take no more work, and wait for what is being computed.

        Args:
            timeout: For how many seconds; None for as long as it takes.

        Returns:
            Whether all of it has ended.
        """
        last = [device.executor.submit(int) for device in self._devices.values()]
        ended = not wait(last, timeout).not_done
        for device in self._devices.values():
            device.executor.shutdown(wait=ended, cancel_futures=True)
        return ended


def _executor(name: str, threads: int) -> ThreadPoolExecutor:
    # OpenMP keeps the number of threads for each calling thread.
    return ThreadPoolExecutor(1, f"gradserve-{name}", torch.set_num_threads, (threads,))


def _cpu(threads: int, failure: Future[DeviceFailed]) -> Device:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device("cpu", platform.processor() or platform.machine(), memory, _executor("cpu", threads), failure)


def _cuda(threads: int, failure: Future[DeviceFailed]) -> list[Device]:
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        name = f"cuda:{index}"
        executor = _executor(name, threads)
        found.append(Device(name, properties.name, properties.total_memory, executor, failure))
    return found


def _mps(threads: int, failure: Future[DeviceFailed]) -> list[Device]:
    if not torch.backends.mps.is_available():
        return []
    memory = torch.mps.recommended_max_memory()
    return [Device("mps", "Apple GPU", memory, _executor("mps", threads), failure)]

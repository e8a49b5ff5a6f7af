"""Models in this process."""

from collections.abc import Callable, Iterator

import pytest

from gradserve_server.architecture import Architecture, Layer
from gradserve_server.config import Limits
from gradserve_server.engine.building import build
from gradserve_server.engine.device import Device, Devices
from gradserve_server.engine.model import Model


@pytest.fixture(scope="session")
def cpu() -> Iterator[Device]:
    devices = Devices(threads=1)
    yield devices.resolve("cpu")
    devices.close()


@pytest.fixture(scope="session")
def model_of(cpu: Device) -> Callable[..., Model]:
    """Builds a model of some layers: each a type of torch.nn, or one and its arguments."""

    def build_model(*layers: tuple[str, dict[str, object]] | str, dtype: str = "float32") -> Model:
        made = tuple(Layer(layer) if isinstance(layer, str) else Layer(*layer) for layer in layers)
        return build(Architecture(made), 0, dtype, cpu, Limits())

    return build_model

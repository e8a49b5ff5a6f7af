"""Both ways in which gRPC listens."""

from collections.abc import Iterator, Mapping

import pytest

from benchmarks.processes import IMAGE_ENVIRONMENT


@pytest.fixture(scope="module", params=[{}, IMAGE_ENVIRONMENT], ids=["default", "image"])
def listening(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has the servers that a test starts listen as gRPC does by default, and as the image does."""
    environment: Mapping[str, str] = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GRPC_EXPERIMENTS", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield

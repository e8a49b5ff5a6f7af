"""How much the random tests of the store do: `--crash-states` and `--crash-seed`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--crash-states", type=int, default=None, help="How many power losses to simulate; else 2000.")
    parser.addoption("--crash-seed", type=int, default=0, help="What the simulated power losses are drawn from.")


# Without this folder on the command line pytest reads this file too late for its options.
@pytest.fixture(scope="session")
def crash_states(pytestconfig: pytest.Config) -> int:
    return pytestconfig.getoption("crash_states", default=None) or 2000


@pytest.fixture(scope="session")
def crash_seed(pytestconfig: pytest.Config) -> int:
    return pytestconfig.getoption("crash_seed", default=None) or 0

"""How much the random tests of the store do: `--crash-states` and `--kills`."""

import pytest

_REPORT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--crash-states", type=int, default=None, help="How many power losses to simulate; else 2000.")
    parser.addoption("--kills", type=int, default=None, help="How often to kill a program that saves; else 50 times.")
    parser.addoption("--crash-seed", type=int, default=0, help="What the simulated power losses are drawn from.")


# Without this folder on the command line pytest reads this file too late for its options.
@pytest.fixture(scope="session")
def crash_states(pytestconfig: pytest.Config) -> int:
    return pytestconfig.getoption("crash_states", default=None) or 2000


@pytest.fixture(scope="session")
def crash_seed(pytestconfig: pytest.Config) -> int:
    return pytestconfig.getoption("crash_seed", default=None) or 0


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    return pytestconfig.getoption("kills", default=None) or 50


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> list[str]:
    """Lines to print at the end."""
    return pytestconfig.stash.setdefault(_REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(_REPORT, []):
        terminalreporter.section("what the checkpoint store went through")
        terminalreporter.write_line("\n".join(lines))

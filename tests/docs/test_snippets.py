"""What the documentation shows is what happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.docs.snippets import DOCUMENTS, Runner, read, skipped
from tests.support.server import start_server

# The tables that the documentation shows name the devices of a machine without one.
WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def as_many_threads_as_before() -> Iterator[None]:
    """Snippets compute beside the server, with as many threads as it has."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
@pytest.mark.usefixtures("as_many_threads_as_before")
def test_every_snippet_runs_and_prints_what_the_text_after_it_shows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each file gets a server of its own: what one creates does not show up in the lists of another."""
    with start_server("--examples", env=WITHOUT_GPU, data_dir=tmp_path / "gradserve-data") as server:
        monkeypatch.setenv("GRADSERVE_TARGET", server.target)
        monkeypatch.setenv("PYTHONWARNINGS", "error")
        monkeypatch.chdir(tmp_path)
        for example in read(path, Runner(tmp_path), server.target).examples():
            example.evaluate()


def test_no_snippet_goes_unrun_but_the_one_that_starts_a_server_in_a_clone():
    """Those of docker are run in tests/deploy, where there is an image."""
    unrun = [snippet for snippet in skipped() if not snippet.startswith("docker ")]
    assert unrun == ["make serve\n"]
    assert sum(path.read_text().count("skip:") for path in DOCUMENTS) == len(skipped())

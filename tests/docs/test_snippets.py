"""What the documentation shows is what happens."""

from pathlib import Path

import pytest

from tests.docs.snippets import ROOT, Runner, read
from tests.support.server import start_server

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_snippet_runs_and_prints_what_the_text_after_it_shows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each file gets a server of its own: what one creates does not show up in the lists of another."""
    with start_server("--examples") as server:
        environ = {"GRADSERVE_TARGET": server.target}
        monkeypatch.setenv("GRADSERVE_TARGET", server.target)
        monkeypatch.chdir(tmp_path)
        for example in read(path, Runner(tmp_path, environ), server.target).examples():
            example.evaluate()


def test_the_only_snippet_that_is_not_run_is_the_one_that_starts_a_server_in_a_clone():
    marker = "<!-- skip: next -->\n\n```bash\n"
    skipped = [text.partition("```")[0] for path in DOCUMENTS for text in path.read_text().split(marker)[1:]]
    assert skipped == ["make serve\n"]
    assert sum(path.read_text().count("skip:") for path in DOCUMENTS) == 1

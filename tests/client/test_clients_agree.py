"""Client and AsyncClient are one: the same code, and the same names, signatures and words for those who use them."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradserve

CLIENT = Path(__file__).resolve().parents[2] / "client"
PAIRS = [(name, f"Async{name}") for name in ("Client", "Model", "Stream")]


def written(package: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (package / "gradserve" / "_sync").glob("*.py")}


def members(cls: type) -> Iterator[tuple[str, str, str | None]]:
    """The public members of a class in the words of a Client: name, signature without what awaits, and docstring."""
    for name, member in inspect.getmembers(cls, inspect.isfunction):
        plain = re.sub(r"__a(?=(enter|exit)__)", "__", name)
        if not name.startswith("_") or plain in {"__init__", "__call__", "__enter__", "__exit__"}:
            yield plain, re.sub(r"\bAsync(?=[A-Z])", "", str(inspect.signature(member))), inspect.getdoc(member)


def test_regenerating_the_code_changes_nothing(tmp_path: Path):
    subprocess.run([sys.executable, CLIENT / "generate.py", "--out", tmp_path], check=True)
    assert written(tmp_path) == written(CLIENT)


@pytest.mark.parametrize(("name", "awaiting"), PAIRS)
def test_both_have_the_same_members_with_the_same_signatures_and_docstrings(name: str, awaiting: str):
    one, other = getattr(gradserve, name), getattr(gradserve, awaiting)
    assert sorted(members(one)) == sorted(members(other))
    assert one.__doc__ == other.__doc__


def test_both_ways_to_wait_have_the_same_modules_with_the_same_names():
    def names(package: str) -> dict[str, set[str]]:
        """What each module makes for others, in the words of a Client."""
        made = r"^(?:async )?(?:def|class) (?:Async)?([A-Za-z]\w*)"
        files = (CLIENT / "gradserve" / package).glob("*.py")
        return {file.name: set(re.findall(made, file.read_text(), re.MULTILINE)) for file in files}

    assert names("_threads") == names("_event_loop")

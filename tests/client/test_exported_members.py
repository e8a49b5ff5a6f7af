"""The public surface: what `import gradserve` offers, and what it costs."""

import subprocess
import sys
from types import ModuleType

import gradserve


def test_all_names_everything_public_and_nothing_else():
    public = {name for name, value in vars(gradserve).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert set(gradserve.__all__) == public | {"__version__"}


def test_all_is_sorted_and_holds_nothing_twice():
    assert sorted(set(gradserve.__all__), key=lambda name: (not name.isupper(), name)) == gradserve.__all__


def test_everything_public_is_documented():
    assert [name for name in gradserve.__all__ if not getattr(gradserve, name).__doc__] == []


def test_errors_are_named_as_they_are_imported():
    errors = [value for value in vars(gradserve).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {error.__module__ for error in errors} == {"gradserve"}


def test_the_import_needs_neither_torch_nor_an_extra():
    heavy = ["torch", "click", "rich", "pydantic", "prometheus_client", "gradserve_server"]
    program = f"import sys, gradserve; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

"""Who may import whom: the contracts stand in pyproject.toml under tool.importlinter."""

import subprocess
import sys
from pathlib import Path

import gradserve
import gradserve_server

ROOT = Path(__file__).resolve().parent.parent


def test_every_module_keeps_to_the_import_contracts():
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_both_packages_tell_type_checkers_that_they_are_typed():
    packages = (gradserve, gradserve_server)
    assert all(Path(package.__path__[0], "py.typed").exists() for package in packages)

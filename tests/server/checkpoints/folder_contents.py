"""What lies in a store's folder beside what its manifests name."""

from __future__ import annotations

from pathlib import Path

from gradserve_server.checkpoints.manifest_text import parse_manifest
from gradserve_server.checkpoints.names import MANIFEST


def leftovers(folder: Path) -> set[str]:
    """The paths that are neither the lock nor a model's folder with its manifest and the files that it names."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    expected = {".lock"}
    for manifest in folder.glob(f"[!.]*/{MANIFEST}"):
        name = manifest.parent.name
        files = parse_manifest(manifest.read_bytes()).files
        expected |= {name, f"{name}/{MANIFEST}", *(f"{name}/{file}" for file in files)}
    return there ^ expected

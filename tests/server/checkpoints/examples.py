"""Manifests and weights to keep: small, and no two alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from gradserve_server.architecture import Layer
from gradserve_server.checkpoints.manifest import AcceptedLoad, Checkpoint, Manifest, StoredModel, WeightsFile

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LAYERS = (Layer("Linear", {"in_features": 2, "out_features": 1, "bias": True}), Layer("LeakyReLU", {"slope": 1e-5}))


def stored_model(version: int, weights: WeightsFile) -> StoredModel:
    return StoredModel(
        version=version,
        version_time=NOW,
        layers=LAYERS,
        dtype="float32",
        device="cpu",
        requires_grad={"layers.0.weight": True, "layers.0.bias": False},
        create_time=NOW,
        seed=-(2**63),
        weights=weights,
    )


def checkpoint(name: str, version: int, weights: WeightsFile, *, automatic: bool = False) -> Checkpoint:
    return Checkpoint(
        name=name,
        version=version,
        create_time=NOW,
        layers=LAYERS,
        weights=weights,
        metadata={"note": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
        automatic=automatic,
    )


def manifest(version: int, weights: WeightsFile, checkpoints: Sequence[Checkpoint] = ()) -> Manifest:
    """A model at a version, with the load that made it."""
    load = AcceptedLoad(request_id="once", sha256=weights.sha256, version=version, missing_keys=("layers.0.bias",))
    model = stored_model(version, weights)
    return Manifest(last_version=version, model=model, checkpoints=tuple(checkpoints), loads=(load,))


def deleted(before: Manifest) -> Manifest:
    """The record of a model that is gone."""
    return replace(before, model=None, checkpoints=(), loads=())

"""Names from before deployment, in the metadata of a checkpoint."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradserve
from gradserve._original_names import from_checkpoints, renamed, to_metadata

names = st.text(st.characters(codec="utf-8"), max_size=30)
layers = st.dictionaries(st.integers(0, 255).map("layers.{}".format), names, max_size=256)


def checkpoint(name: str, metadata: dict[str, str]) -> gradserve.Checkpoint:
    return gradserve.Checkpoint(name, 1, datetime.now(UTC), 1, "", metadata, automatic=False, live=True)


@given(layers)
def test_names_come_back_from_the_metadata_as_they_were(layers: dict[str, str]):
    assert from_checkpoints([checkpoint("v1", {}), checkpoint("deployed", to_metadata(layers))]) == layers


@given(layers)
def test_no_note_is_longer_than_a_server_takes(layers: dict[str, str]):
    assert all(len(text) <= 1024 for text in to_metadata(layers).values())


def test_256_layers_deep_within_a_module_take_no_more_notes_than_a_server_takes():
    deep = {f"layers.{index}": f"encoder.blocks.{index}.residual.mlp.{'x' * 80}" for index in range(256)}
    assert len(to_metadata(deep)) <= 64


def test_layers_are_named_in_plain_words():
    assert to_metadata({"layers.0": "fc1", "layers.2": "fc2"}) == {
        "original_names": '{"layers.0": "fc1", "layers.2": "fc2"}'
    }


@pytest.mark.parametrize(
    "checkpoints",
    [[], [checkpoint("deployed", {"a": "b"})], [checkpoint("other", to_metadata({"layers.0": "fc"}))]],
    ids=["none", "without names", "of another name"],
)
def test_without_such_a_checkpoint_there_are_no_names(checkpoints: list[gradserve.Checkpoint]):
    with pytest.raises(gradserve.FailedPreconditionError, match=r"as gradserve.deploy makes it") as caught:
        from_checkpoints(checkpoints)
    assert caught.value.reason == "NO_ORIGINAL_NAMES"


def test_only_the_layer_in_a_name_is_replaced():
    state = {"layers.0.weight": 1, "layers.0.running_mean": 2, "layers.10.weight": 3, "layers.1": 4}
    assert renamed(state, {"layers.0": "body.fc1", "layers.1": "x"}) == {
        "body.fc1.weight": 1,
        "body.fc1.running_mean": 2,
        "layers.10.weight": 3,
        "layers.1": 4,
    }


def test_a_module_that_is_one_layer_has_bare_names():
    assert renamed({"layers.0.weight": 1}, {"layers.0": ""}) == {"weight": 1}
    assert renamed({"weight": 1}, {"": "layers.0"}) == {"layers.0.weight": 1}

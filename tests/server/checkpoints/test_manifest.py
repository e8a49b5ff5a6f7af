"""What a manifest's file holds, and what is retained."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gradserve_server.architecture import Layer
from gradserve_server.checkpoints.manifest import Manifest, WeightsFile, retained
from gradserve_server.checkpoints.manifest_text import _framed, parse_manifest, render_manifest
from gradserve_server.checkpoints.names import MANIFEST
from gradserve_server.errors import DataLoss
from tests.server.checkpoints.examples import checkpoint, deleted, manifest

WEIGHTS = WeightsFile(file="1-0123abcd.safetensors", size_bytes=3, sha256=bytes(range(32)))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ARGUMENTS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXT,
    st.lists(st.integers(0, 2**40), max_size=3).map(tuple),
)


@given(st.dictionaries(TEXT, ARGUMENTS), st.dictionaries(TEXT, TEXT), st.dictionaries(TEXT, st.booleans()))
def test_a_manifest_is_read_as_it_was_written(arguments, notes, flags):
    noted = replace(checkpoint("a", 1, WEIGHTS, automatic=True), metadata=notes)
    before = manifest(1, WEIGHTS, [noted])
    before = replace(before, model=replace(before.model, layers=(Layer("Linear", arguments),), requires_grad=flags))
    after = parse_manifest(render_manifest(before))
    assert after == before
    # An int that comes back as a float, or as a bool, is equal to it.
    assert repr(after.model.layers) == repr(before.model.layers)


def test_a_value_that_is_not_a_number_is_kept():
    model = manifest(1, WEIGHTS).model
    before = replace(manifest(1, WEIGHTS), model=replace(model, layers=(Layer("Hardtanh", {"min_val": math.nan}),)))
    assert math.isnan(parse_manifest(render_manifest(before)).model.layers[0].arguments["min_val"])


def test_the_record_of_a_deleted_model_is_read_as_it_was_written():
    before = deleted(manifest(5, WEIGHTS))
    assert parse_manifest(render_manifest(before)) == before


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"manifest": {}, "sha256": ""}', b"1" * 5000],
    ids=lambda text: ascii(text[:20]),
)
def test_a_file_that_is_no_manifest_is_damage(text):
    with pytest.raises(DataLoss, match="not what was written"):
        parse_manifest(text)


def test_a_manifest_of_a_later_format_is_told_from_damage():
    with pytest.raises(DataLoss, match="has format 2; this version of Gradserve reads 1"):
        parse_manifest(_framed(2, {"anything": "else"}))


@pytest.mark.parametrize("file", ["../1-0123abcd.safetensors", "/etc/passwd", "1-0123abcd.safetensors\n", MANIFEST])
def test_a_manifest_that_names_a_file_outside_its_folder_is_refused_even_with_its_right_checksum(file):
    content = json.loads(render_manifest(manifest(1, WEIGHTS)))["manifest"]
    content["model"]["weights"]["file"] = file
    with pytest.raises(DataLoss, match="not a manifest"):
        parse_manifest(_framed(1, content))


def test_two_checkpoints_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="two checkpoints have one name"):
        Manifest(last_version=1, model=None, checkpoints=(checkpoint("a", 1, WEIGHTS), checkpoint("a", 2, WEIGHTS)))


@pytest.mark.parametrize(
    ("automatic", "expected"),
    [(0, "named-2 named-5"), (1, "named-2 named-5 auto-6"), (2, "named-2 auto-4 named-5 auto-6")],
)
def test_all_named_checkpoints_are_retained_and_the_newest_automatic_ones(automatic, expected):
    names = ["auto-1", "named-2", "auto-3", "auto-4", "named-5", "auto-6"]
    kept = tuple(checkpoint(name, 1, WEIGHTS, automatic=name.startswith("auto")) for name in names)
    assert " ".join(checkpoint.name for checkpoint in retained(kept, automatic)) == expected
    assert retained(kept, 4) == kept

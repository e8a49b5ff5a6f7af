"""Where a tensor comes from, and in which format."""

import io
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from gradserve.cli.tensors import source as module
from gradserve.cli.tensors.source import SourceError, check_stdin, find_source


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(1))
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, np.zeros(1))
    return buffer.getvalue()


@pytest.mark.parametrize("argument", ["[1]", " [1]", '{"data": 1}', "1", "-1.5", "2e-3", "0.5E+7", "[oops"])
def test_json_may_be_the_argument_itself(argument):
    source = find_source(argument)
    assert (source.name, source.format, source.data) == ("inline JSON", "json", argument.encode())


@pytest.mark.parametrize("argument", ["1.npy", "x1", "1e", ".5", "nan", "--", "1_0"])
def test_anything_else_is_a_file(argument):
    with pytest.raises(SourceError, match="No such file"):
        find_source(argument)


def test_a_file_with_the_name_of_a_number_is_named_with_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("7").write_text("1,2")
    assert find_source("./7").data == b"1,2"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (npy(), "npy"),
        (npz(), "npz"),
        (b"[1, 2]", "json"),
        (b' \n{"data": 1}', "json"),
        (b"[1, 2", "json"),
        (b"1", "csv"),
        (b"1,2\n3,4\n", "csv"),
        (b"a,b\n3,4\n", "csv"),
        (b"\xff\xfe", "csv"),
    ],
)
def test_without_a_known_suffix_the_content_tells_the_format(tmp_path, content, expected):
    (tmp_path / "x.dat").write_bytes(content)
    assert find_source(str(tmp_path / "x.dat")).format == expected


@pytest.mark.parametrize("name", ["x.npy", "x.NPZ", "x.Csv", "x.json"])
def test_a_known_suffix_tells_the_format_whatever_the_content(tmp_path, name):
    (tmp_path / name).write_bytes(b"whatever")
    assert find_source(str(tmp_path / name)).format == name[2:].lower()


@pytest.mark.parametrize("argument", ["x.npz:a", "x.npz:a:b"])
def test_what_follows_an_archive_and_a_colon_is_the_arrays_name(tmp_path, argument, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.npz").write_bytes(npz())
    source = find_source(argument)
    assert (source.name, source.member) == ("x.npz", argument.removeprefix("x.npz:"))


def test_standard_input_can_be_an_archive_too(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(npz())))
    source = find_source("-:arr_0")
    assert (source.name, source.format, source.member) == ("standard input", "npz", "arr_0")


@pytest.mark.parametrize(("content", "name"), [(b"", "x.npy"), (b" \n\t ", "x.csv")])
def test_an_empty_file_is_named(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{name} is empty"):
        find_source(str(tmp_path / name))


def test_a_folder_is_named(tmp_path):
    with pytest.raises(SourceError, match="Is a directory"):
        find_source(str(tmp_path))


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(SourceError, match="embedded null"):
        find_source("x\0.npy")


def test_a_file_larger_than_any_message_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 2**21)
    with pytest.raises(SourceError, match="larger than 2097152 bytes"):
        find_source("/dev/zero")


def test_only_one_tensor_can_come_from_standard_input():
    check_stdin(["-", "x.npy", "-1", "[1]"])
    with pytest.raises(click.UsageError, match="only one tensor"):
        check_stdin(["-", "-:key"])

"""Files that appear whole or not at all."""

import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from gradserve._whole_file import whole_file


def interrupt(_written: int) -> NoReturn:
    raise KeyboardInterrupt


def test_the_file_appears_with_the_end_of_the_block(tmp_path: Path):
    path = tmp_path / "file"
    with whole_file(path) as stream:
        stream.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as stream:
        interrupt(stream.write(b"new"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_stays_one(tmp_path: Path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    with whole_file(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_others_may_read_it_as_any_new_file(tmp_path: Path):
    (tmp_path / "plain").touch()
    with whole_file(tmp_path / "file"):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "plain")]
    assert modes[0] == modes[1]


def test_a_folder_that_is_not_there_is_told_under_the_path_that_was_given(tmp_path: Path):
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(FileNotFoundError) as caught, whole_file(path):
        pass
    assert caught.value.filename == str(path)


def test_it_is_on_disk_before_it_takes_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("sync"), sync(handle)))
    monkeypatch.setattr(Path, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
    with whole_file(tmp_path / "file"):
        pass
    # The content, the name, and then the folder that holds the name.
    assert steps == ["sync", "replace", "sync"]

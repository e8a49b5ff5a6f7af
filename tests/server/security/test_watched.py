"""Files that are looked at again: what is taken, what is refused, and what stays."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from gradserve_server.config import ConfigError
from gradserve_server.security.watched import Watched, WatchedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds a number."""
    path = tmp_path / "number"
    path.write_text("1")
    path.chmod(0o600)
    return path


def watched(path: Path, *, private: bool = True) -> Watched[int]:
    file = WatchedFile("server.number", str(path), private=private)

    def parse(contents: Sequence[bytes]) -> int:
        try:
            return int(contents[0])
        except ValueError:
            raise file.error("is not a number") from None

    return Watched([file], parse)


def test_a_change_is_seen_at_the_next_look(path: Path):
    number = watched(path)
    path.write_text("2")
    number.look()
    assert number.value == 2


def test_between_two_looks_nothing_is_read(path: Path):
    number = watched(path)
    path.write_text("2")
    assert number.value == 1


def test_a_change_that_keeps_size_and_time_is_seen_too(path: Path):
    number = watched(path)
    before = path.stat()
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    number.look()
    assert number.value == 2


@pytest.mark.parametrize("content", [None, "many", "9" * (4 * 1024**2 + 1)])
def test_a_change_that_cannot_be_used_is_logged_once_and_what_was_there_stays(
    path: Path, caplog: pytest.LogCaptureFixture, content: str | None
):
    number = watched(path)
    path.unlink()
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    number.look()
    number.look()
    assert number.value == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"server.number: {path}: " in caplog.text


def test_a_complaint_is_made_again_when_things_were_right_meanwhile(path: Path, caplog: pytest.LogCaptureFixture):
    number = watched(path)
    for content in ("many", "1", "many"):
        path.write_text(content)
        number.look()
    assert caplog.text.count("is not a number") == 2


def test_a_file_that_anybody_can_write_is_refused(path: Path):
    path.chmod(0o602)
    with pytest.raises(ConfigError, match=r"^server\.number: .*: can be written by every user of this machine"):
        watched(path)


def test_a_private_file_that_anybody_can_read_is_warned_of_once(path: Path, caplog: pytest.LogCaptureFixture):
    path.chmod(0o604)
    watched(path).look()
    assert [record.getMessage() for record in caplog.records] == [
        f"server.number: {path}: can be read by every user of this machine"
    ]


def test_a_private_file_that_is_opened_to_everybody_is_warned_of_at_the_next_look(
    path: Path, caplog: pytest.LogCaptureFixture
):
    number = watched(path)
    path.chmod(0o604)
    number.look()
    assert "can be read by every user of this machine" in caplog.text


def test_no_other_file_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture):
    path.chmod(0o640)
    watched(path)
    path.chmod(0o604)
    watched(path, private=False)
    assert caplog.records == []


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is not a number"):
        watched(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=rf"^server\.number: {tmp_path / name}: (No such file|Is a directory)"):
        watched(tmp_path / name)

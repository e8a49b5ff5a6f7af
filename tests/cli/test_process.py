"""What only a process of its own shows: the console script, pipes, Ctrl-C, and a terminal."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import gradserve
from tests.client.scripted_server import scripted_server

MODULE = [sys.executable, "-W", "error", "-m", "gradserve"]
SCRIPT = [str(Path(sysconfig.get_path("scripts"), "gradserve"))]
SECONDS = 60


@pytest.fixture
def env(target):
    """The environment of a user who has set the server's address."""
    return {**os.environ, "GRADSERVE_TARGET": target, "COLUMNS": "100", "TERM": "xterm"}


def on_terminal(command, env) -> str:
    """Run a command with a terminal for standard output and error, and give what it wrote."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        try:
            while chunk := os.read(ours, 65536):
                written += chunk
        except OSError:
            # Linux's word for a terminal that nobody holds any more.
            pass
        finally:
            os.close(ours)
        assert process.wait(SECONDS) == 0
    return written.decode()


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
def test_script_and_module_are_the_same_command(program, env):
    command = [*program, "gradient", "logistic-regression", "-", "--target", "[[1]]", "--loss", "binary_cross_entropy"]
    ended = subprocess.run(
        [*command, "--json"], env=env, input=b"1.1\n", capture_output=True, timeout=SECONDS, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    gradients = json.loads(ended.stdout)["gradients"]
    assert gradients["layers.0.weight"]["data"] == [[pytest.approx(-0.0898, abs=5e-5)]]


def test_the_script_ends_with_the_exit_code(env):
    ended = subprocess.run([*SCRIPT, "info", "nope"], env=env, capture_output=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stdout) == (3, b"")


def test_a_reader_that_is_gone_ends_the_command_silently(env):
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([*MODULE, "models"], env=env, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        assert process.communicate(timeout=SECONDS)[1] == b""
    assert process.returncode == 141


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_stops_early_ends_the_command_silently(env, tmp_path, unbuffered):
    env |= {"PYTHONUNBUFFERED": unbuffered}
    # More than a pipe holds, so that the command is still writing when the reader goes.
    np.save(tmp_path / "x.npy", np.zeros((20_000, 50), np.float32))
    command = [*MODULE, "forward", "mlp-50-30-20-3", tmp_path / "x.npy"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(env):
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*MODULE, "models"], env=env, stdout=full, stderr=subprocess.PIPE, timeout=SECONDS, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"gradserve: cannot write the output: No space left on device\n")


def test_standard_streams_that_are_closed_are_no_trouble(env):
    ended = subprocess.run(
        ["/bin/sh", "-c", '"$@" <&- >&-', "sh", *MODULE, "models"],
        env=env,
        stderr=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    ended = subprocess.run(
        ["/bin/sh", "-c", '"$@" <&-', "sh", *MODULE, "forward", "digits", "-"],
        env=env,
        stderr=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (2, b"gradserve: cannot read standard input: it is closed\n")


def test_ctrl_c_ends_a_call_with_one_line_and_exit_code_130(env):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        command = [*MODULE, "models", "--server", f"127.0.0.1:{mute.getsockname()[1]}"]
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
            # Once it has connected, it is inside the call.
            connection, _ = mute.accept()
            process.send_signal(signal.SIGINT)
            error = process.communicate(timeout=SECONDS)[1]
            connection.close()
    assert (process.returncode, error) == (130, b"gradserve: interrupted\n")


def test_a_terminal_gets_tables(env):
    text = on_terminal([*MODULE, "models"], env)
    assert "───" in text
    assert "mlp-50-30-20-3" in text
    assert "\t" not in text


@pytest.mark.parametrize("command", [["info"], ["info", "digits"]])
def test_a_terminal_gets_info_in_tables(env, command):
    assert "───" in on_terminal([*MODULE, *command], env)


def test_a_terminal_gets_gradients_with_norms_and_first_values(env):
    options = ["--target", "[[1]]", "--loss", "binary_cross_entropy"]
    text = on_terminal([*MODULE, "gradient", "logistic-regression", "[[1.1]]", *options], env)
    assert "norm" in text
    assert "-0.089826" in text


def test_a_terminal_gets_the_first_rows_of_a_long_output(env, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((100, 64), np.float32))
    text = on_terminal([*MODULE, "forward", "digits", tmp_path / "x.npy"], env)
    assert "output float32 [100, 10]" in text
    assert "the rest is left out" in text
    assert len(text.splitlines()) < 40


def test_a_terminal_without_color_gets_no_escape_sequences(env):
    for command in (["models"], ["info", "digits"], ["forward", "logistic-regression", "[[1]]"]):
        assert "\x1b" not in on_terminal([*MODULE, *command], {**env, "TERM": "dumb"})


@pytest.mark.parametrize("command", [["pull", "digits", "-o"], ["push", "mlp-50-30-20-3"]], ids=["pull", "push"])
def test_a_terminal_gets_a_progress_bar_which_is_gone_at_the_end(env, tmp_path, command):
    path = str(tmp_path / "w.safetensors")
    with gradserve.Client(env["GRADSERVE_TARGET"]) as client:
        client.model(command[1]).save_state_dict(path)
    # What erases a line, and has nothing but the result behind it, is the end of the bar.
    shown, _, left = on_terminal([*MODULE, *command, path], env).rpartition("\x1b[2K")
    assert f"{command[0]} {command[1]} " in shown
    assert " kB" in shown
    assert left.startswith(f"{command[0]}ed {command[1]}, version ")


def test_a_terminal_that_cannot_move_its_cursor_gets_no_progress_bar(env, tmp_path):
    path = str(tmp_path / "w.safetensors")
    text = on_terminal([*MODULE, "pull", "digits", "-o", path], {**env, "TERM": "dumb"})
    assert text.startswith("pulled digits, version ")


def test_nobody_gets_a_progress_bar_without_a_terminal(env, tmp_path):
    command = [*MODULE, "pull", "digits", "-o", str(tmp_path / "w.safetensors")]
    assert subprocess.run(command, env=env, capture_output=True, timeout=SECONDS, check=True).stderr == b""


def test_ctrl_c_in_a_transfer_leaves_no_file(env, tmp_path):
    with scripted_server() as (target, script):
        command = [*MODULE, "pull", "digits", "-o", str(tmp_path / "w.safetensors"), "--server", target]
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
            assert script.arrived.wait(SECONDS)
            process.send_signal(signal.SIGINT)
            error = process.communicate(timeout=SECONDS)[1]
    assert (process.returncode, error) == (130, b"gradserve: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_json_on_a_terminal_is_json(env):
    assert json.loads(on_terminal([*MODULE, "models", "--json"], env))["models"]


def test_a_locale_without_unicode_is_no_trouble(env):
    plain = {**env, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    assert "mlp-50-30-20-3" in on_terminal([*MODULE, "models"], plain)


def test_a_file_name_that_is_not_text_is_escaped(env):
    ended = subprocess.run(
        [*map(os.fsencode, MODULE), b"forward", b"digits", b"\xff.npy"],
        env=env,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (2, b"gradserve: cannot read \\udcff.npy: No such file or directory\n")


def test_shells_are_told_how_to_complete(env):
    ended = subprocess.run(
        SCRIPT, env={**env, "_GRADSERVE_COMPLETE": "bash_source"}, capture_output=True, timeout=SECONDS, check=False
    )
    assert b"complete" in ended.stdout


def test_the_version_is_that_of_the_package(env):
    ended = subprocess.run([*SCRIPT, "--version"], env=env, capture_output=True, timeout=SECONDS, check=False)
    assert ended.stdout.decode() == f"gradserve {gradserve.__version__}\n"

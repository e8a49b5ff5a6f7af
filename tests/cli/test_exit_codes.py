"""Every exit code, and the line on standard error that goes with it."""

import socket
from pathlib import Path

import click
import grpc
import pytest

import gradserve
from gradserve.cli.exit_code import ExitCode, describe, exit_code_of, one_line

CODES = {
    gradserve.AbortedError: ExitCode.CONFLICT,
    gradserve.AlreadyExistsError: ExitCode.CONFLICT,
    gradserve.CancelledError: ExitCode.FAILURE,
    gradserve.ClientClosedError: ExitCode.FAILURE,
    gradserve.DataLossError: ExitCode.FAILURE,
    gradserve.DeadlineExceededError: ExitCode.UNAVAILABLE,
    gradserve.FailedPreconditionError: ExitCode.CONFLICT,
    gradserve.InternalError: ExitCode.FAILURE,
    gradserve.InvalidArgumentError: ExitCode.INVALID,
    gradserve.NotFoundError: ExitCode.NOT_FOUND,
    gradserve.OutOfRangeError: ExitCode.INVALID,
    gradserve.PermissionDeniedError: ExitCode.DENIED,
    gradserve.ResourceExhaustedError: ExitCode.EXHAUSTED,
    gradserve.UnauthenticatedError: ExitCode.DENIED,
    gradserve.UnavailableError: ExitCode.UNAVAILABLE,
    gradserve.UnimplementedError: ExitCode.INVALID,
    gradserve.UnknownError: ExitCode.FAILURE,
}


@pytest.fixture
def closed_target():
    """An address where nothing listens, and nothing will as long as the test holds the port."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize("error", CODES, ids=lambda error: error.__name__)
def test_each_error_of_the_sdk_has_its_exit_code(error):
    assert exit_code_of(error("what happened")) is CODES[error]


def test_no_error_of_the_sdk_is_left_out():
    public = {value for value in vars(gradserve).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert CODES.keys() == public - {gradserve.Error}
    assert {error.code for error in CODES} == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_0_is_success(run):
    assert run("models").code == 0


def test_1_is_an_output_that_cannot_be_written(run):
    outcome = run("forward", "logistic-regression", "[[1]]", "-o", "/nowhere/y.npy")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "gradserve: cannot write /nowhere/y.npy: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("modles",), "No such command 'modles'."),
        (("models", "--jsno"), "--jsno"),
        (("models", "extra"), "unexpected extra argument (extra)"),
        (("forward",), "Missing argument 'NAME'. See 'gradserve forward --help'."),
        (("forward", "name"), "Missing argument 'FILE'"),
        (("forward", "name", "nowhere.npy"), "cannot read nowhere.npy: No such file or directory"),
        (("models", "--timeout", "soon"), "'soon' is not a valid float"),
        (("models", "--timeout", "0"), "0.0 is not a positive number of seconds"),
        (("models", "--timeout", "-1"), "-1.0 is not a positive number of seconds"),
        (("models", "--timeout", "nan"), "nan is not a positive number of seconds"),
        (("models", "--timeout", "inf"), "inf is not a positive number of seconds"),
        (("--timeout", "0", "models"), "not a positive number of seconds"),
    ],
)
def test_2_is_a_wrong_command_line(run, arguments, says):
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err
    assert outcome.err.startswith("gradserve: ")
    assert len(outcome.err.splitlines()) == 1


def test_2_is_also_no_command_at_all_which_prints_the_help(run_anywhere):
    outcome = run_anywhere()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: gradserve ")


def test_3_is_a_model_that_is_not_there(run):
    for arguments in (
        ("info", "x"),
        ("delete", "x"),
        ("forward", "x", "[[1]]"),
        ("gradient", "x", "[[1]]", "--loss", "sum"),
        ("pull", "x", "-o", "x.safetensors"),
        ("save", "x", "v1"),
        ("load", "x", "v1"),
        ("checkpoints", "x"),
    ):
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.startswith("gradserve: NOT_FOUND: ")
        assert len(outcome.err.splitlines()) == 1


def test_4_is_a_request_that_the_server_refuses_for_what_it_says(run):
    outcome = run("forward", "logistic-regression", "[[1, 2]]")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err.startswith("gradserve: INVALID_ARGUMENT: ")


def test_5_is_a_server_that_is_not_there(run_anywhere, closed_target):
    outcome = run_anywhere("models", "-s", closed_target)
    assert outcome.code == 5
    assert outcome.err.startswith("gradserve: UNAVAILABLE: ")
    assert "is the server running, and is --server right?" in outcome.err


def test_5_is_also_a_server_that_does_not_answer_in_time(run_anywhere, mute_target):
    outcome = run_anywhere("models", "-s", mute_target, "--timeout", "0.2")
    assert outcome.code == 5
    assert outcome.err.startswith("gradserve: DEADLINE_EXCEEDED: ")


def test_6_is_a_name_that_is_taken(run):
    outcome = run("create", "digits", "--in", 1, "--out", 1)
    assert outcome.code == 6
    assert outcome.err.startswith("gradserve: ALREADY_EXISTS: ")


def test_7_is_a_model_beyond_the_servers_limit(run):
    outcome = run("create", "huge", "--in", 10**6, "--out", 10**6)
    assert outcome.code == 7
    assert outcome.err.startswith("gradserve: RESOURCE_EXHAUSTED: ")


def test_the_help_lists_every_exit_code(run_anywhere):
    listed = run_anywhere("--help").out.partition("Exit codes:\n")[2]
    assert [int(line.split()[0]) for line in listed.splitlines() if line.strip()] == [code.value for code in ExitCode]


def test_a_violation_that_the_message_leaves_out_is_added():
    violation = gradserve.FieldViolation("input.shape", "must end with 50")
    error = gradserve.InvalidArgumentError("the input is wrong", field_violations=[violation])
    assert describe(error) == "INVALID_ARGUMENT: the input is wrong; input.shape: must end with 50"


def test_a_violation_that_the_message_holds_is_not_said_twice():
    violation = gradserve.FieldViolation("name", "there is no model 'x'")
    error = gradserve.NotFoundError("there is no model 'x'", field_violations=[violation])
    assert describe(error) == "NOT_FOUND: there is no model 'x'"


def test_a_message_cannot_break_the_line_or_steer_the_terminal():
    assert one_line("a\n\tb\r\x1b[31m\x00\u202e\ud800 ä") == r"a b \x1b[31m\x00\u202e\ud800 ä"


def test_a_usage_error_without_a_command_has_no_hint():
    assert describe(click.UsageError("x.npy is empty")) == "x.npy is empty"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 1, "cannot write the output: No space left on device"),
        (OSError(28, "No space left on device", str(Path("y.npy"))), 1, "cannot write y.npy: No space left on device"),
    ],
)
def test_what_the_system_raises_has_its_exit_code_and_line(error, code, line):
    assert (exit_code_of(error), describe(error)) == (code, line)

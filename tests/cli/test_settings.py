"""The options that all commands have, and where else their values come from."""

import json

import pytest

import gradserve

NOWHERE = "127.0.0.1:1"
COMMANDS = (
    "models",
    "info",
    "create",
    "delete",
    "forward",
    "gradient",
    "check",
    "push",
    "pull",
    "save",
    "load",
    "checkpoints",
    "token",
    "bench",
    "top",
    "serve",
    "health",
)


@pytest.mark.parametrize(
    "command", [("models",), ("info",), ("info", "digits"), ("forward", "logistic-regression", "[[1]]")]
)
def test_common_options_stand_before_or_after_the_command(run_anywhere, target, command):
    before = run_anywhere("--server", target, "--timeout", "60", "--json", *command)
    after = run_anywhere(*command, "--server", target, "--timeout", "60", "--json")
    assert before.code == after.code == 0
    assert before.out == after.out
    json.loads(before.out)


def test_an_option_after_the_command_wins(run_anywhere, target):
    assert run_anywhere("-s", NOWHERE, "models", "-s", target).code == 0


def test_the_server_comes_from_the_environment(run_anywhere, target):
    assert run_anywhere("models", env={"GRADSERVE_TARGET": target}).code == 0


def test_an_option_wins_over_the_environment_wherever_it_stands(run_anywhere, target):
    env = {"GRADSERVE_TARGET": NOWHERE, "GRADSERVE_TIMEOUT": "never"}
    assert run_anywhere("-s", target, "--timeout", "60", "models", env=env).code == 0
    assert run_anywhere("models", "-s", target, "--timeout", "60", env=env).code == 0


def test_a_malformed_variable_is_named(run_anywhere, target):
    outcome = run_anywhere("models", "-s", target, env={"GRADSERVE_TIMEOUT": "never"})
    assert outcome.code == 2
    assert "GRADSERVE_TIMEOUT" in outcome.err
    assert "'never'" in outcome.err


def test_a_missing_file_of_certificates_is_named(run_anywhere, target):
    outcome = run_anywhere("models", "-s", target, env={"GRADSERVE_TLS_CA": "/nowhere/ca.pem"})
    assert outcome.code == 2
    assert "cannot read /nowhere/ca.pem: No such file or directory" in outcome.err


def test_the_timeout_comes_from_the_environment(run_anywhere, mute_target):
    outcome = run_anywhere("models", "-s", mute_target, env={"GRADSERVE_TIMEOUT": "0.2"})
    assert outcome.code == 5
    assert outcome.err.startswith("gradserve: DEADLINE_EXCEEDED: ")


@pytest.mark.parametrize(
    "command",
    [
        ("models",),
        ("info", "digits"),
        ("create", "spelled", "--in", 1, "--out", 1),
        ("delete", "spelled"),
        ("forward", "logistic-regression", "[[1]]"),
        ("gradient", "logistic-regression", "[[1]]", "--loss", "sum"),
        ("check", "logistic-regression"),
        ("push", "logistic-regression", "w.safetensors"),
        ("pull", "logistic-regression", "-o", "pulled.safetensors"),
        ("save", "logistic-regression", "spelled"),
        ("load", "logistic-regression", "v0"),
        ("checkpoints", "logistic-regression"),
        ("token", "spelled", "--rights", "forward"),
        ("bench", "logistic-regression", "--seconds", 0.05),
        ("serve", "--print-config"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_prints_one_line_of_valid_json(run_anywhere, durable_target, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    env = {"GRADSERVE_TARGET": durable_target}
    run_anywhere("pull", "logistic-regression", "-o", "w.safetensors", env=env)
    run_anywhere("save", "logistic-regression", "v0", env=env)
    outcome = run_anywhere(*command, "--json", env=env)
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == 1
    json.loads(outcome.out, parse_constant=pytest.fail)


def test_every_command_is_among_these(run_anywhere):
    listed = run_anywhere("--help").out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert {line.split()[0] for line in listed.splitlines()} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run_anywhere, command):
    outcome = run_anywhere(command, "--help")
    assert outcome.code == 0
    assert f"Examples:\n    gradserve {command} " in outcome.out or f"gradserve {command}\n" in outcome.out
    assert "--json" in outcome.out


def test_version_names_the_program_and_its_version(run_anywhere):
    assert run_anywhere("--version").out == f"gradserve {gradserve.__version__}\n"

"""The command token: a line for the server's file, and a text for who calls."""

import hashlib
import json
import subprocess
import sys
import tomllib

import pytest

from tests.support.server import start_server

TEXT = "the token, shown only now: "


def test_the_line_goes_to_standard_output_and_the_text_to_standard_error(run_anywhere):
    outcome = run_anywhere("token", "sampler", "--rights", "forward,weights:read", "--models", "a-*", "--models", "b")
    text = outcome.err.strip().removeprefix(TEXT)
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == len(outcome.err.splitlines()) == 1
    assert text not in outcome.out
    assert tomllib.loads(outcome.out) == {
        "sampler": {
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "rights": ["forward", "weights:read"],
            "models": ["a-*", "b"],
        }
    }


def test_json_holds_both_and_nothing_goes_to_standard_error(run_anywhere):
    outcome = run_anywhere("token", "a.b", "--rights", "forward", "--json")
    made = json.loads(outcome.out)
    assert outcome.err == ""
    assert made["name"] == "a.b"
    assert tomllib.loads(made["line"])["a.b"]["sha256"] == hashlib.sha256(made["token"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sampler",), "Missing option '--rights'"),
        (("sampler", "--rights", "all"), "sampler.rights[0]: must be 'forward', 'gradient', 'weights:read'"),
        (("sampler", "--rights", "forward,"), "sampler.rights[1]: must be"),
        (("a sampler", "--rights", "forward"), "a sampler must be named by"),
        (("sampler", "--rights", "forward", "--models", "A"), "sampler.models[0] must be a glob"),
    ],
)
def test_what_cannot_be_in_the_file_is_refused_in_one_line(run_anywhere, arguments, says):
    outcome = run_anywhere("token", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_without_the_servers_extra_it_says_what_to_install():
    code = "import sys; sys.modules['pydantic'] = None; from gradserve.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "token", "sampler", "--rights", "forward"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "gradserve: pydantic is not installed: pip install 'gradserve[server]'\n"


def test_a_caller_with_the_token_is_let_in_and_one_without_has_exit_code_8(run_anywhere, tmp_path):
    made = json.loads(run_anywhere("token", "sampler", "--rights", "forward", "--json").out)
    tokens = tmp_path / "tokens.toml"
    tokens.touch(mode=0o600)
    tokens.write_text(made["line"])
    with start_server("--examples", "--set", f"server.tokens_file={tokens}") as server:
        call = ("forward", "logistic-regression", "[[0]]", "--server", server.target)
        outcomes = [run_anywhere(*call, env=env) for env in ({}, {"GRADSERVE_TOKEN": made["token"]})]
    assert [outcome.code for outcome in outcomes] == [8, 0]
    assert outcomes[0].err.startswith("gradserve: UNAUTHENTICATED: a token is required")

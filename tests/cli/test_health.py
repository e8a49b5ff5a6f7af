"""The command health."""

import json

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.certificates import Authority, tls_flags
from tests.support.server import start_server
from tests.support.tokens import TokensFile

SECONDS = 20


@pytest.mark.parametrize("name", [(), ("digits",)], ids=["server", "model"])
def test_what_serves_is_serving_and_the_exit_code_is_0(run, name):
    outcome = run("health", *name)
    assert (outcome.code, outcome.out, outcome.err) == (0, "SERVING\n", "")


def test_json_names_the_model_and_its_status(run):
    assert json.loads(run("health", "digits", "--json").out) == {"model": "digits", "status": "SERVING"}
    assert json.loads(run("health", "--json").out) == {"model": None, "status": "SERVING"}


def test_the_health_of_a_model_that_is_not_there_is_not_found(run):
    outcome = run("health", "nobody")
    assert (outcome.code, outcome.out) == (3, "")
    assert "there is no model 'nobody'" in outcome.err


def test_a_server_that_stops_is_not_serving_and_the_exit_code_is_5(run_anywhere):
    with start_server("--set", "server.drain_delay=30") as server, grpc.insecure_channel(server.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        outcome = run_anywhere("health", "-s", server.target)
    assert (outcome.code, outcome.out, outcome.err) == (5, "NOT_SERVING\n", "")


def test_a_server_that_cannot_be_reached_is_unavailable(run_anywhere, mute_target):
    outcome = run_anywhere("health", "-s", mute_target, "--timeout", "0.2")
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err.startswith("gradserve: DEADLINE_EXCEEDED: ")


def test_health_is_told_over_tls_and_without_a_token(run_anywhere, tmp_path):
    """A probe has neither a token of its own nor use for one."""
    authority, tokens = Authority.make(tmp_path / "authority"), TokensFile(tmp_path / "tokens.toml")
    with start_server(*tls_flags(authority.server()), *tokens.flags) as server:
        outcome = run_anywhere("health", "-s", server.target, env={"GRADSERVE_TLS_CA": str(authority.ca)})
    assert (outcome.code, outcome.out) == (0, "SERVING\n")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"GRADSERVE_TIMEOUT": "soon"}, "GRADSERVE_TIMEOUT must be a positive number of seconds"),
        ({"GRADSERVE_TLS_CA": "/nowhere/ca.pem"}, "cannot read /nowhere/ca.pem: No such file or directory"),
        ({"GRADSERVE_TLS_KEY": "key.pem"}, "a certificate and its key go together"),
    ],
)
def test_a_variable_that_is_wrong_is_named_and_nothing_is_asked(run, env, says):
    outcome = run("health", env=env)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err

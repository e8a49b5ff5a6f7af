"""The table of rules: every method that is served is in it, and none else."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from gradserve_server.security.rules import RULES
from gradserve_server.security.tokens import Tokens
from gradserve_server.security.watched import Watched
from gradserve_server.servicers.guard import Guard
from tests.support.methods import METHODS, request_of


def test_every_method_has_a_rule_and_every_rule_is_of_a_method():
    assert RULES.keys() == METHODS.keys()


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("tokens", [None, Watched([], lambda _: Tokens({}))], ids=["without tokens", "with tokens"])
def test_a_method_that_has_no_rule_is_not_served(
    method: str, tokens: Watched[Tokens] | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(RULES, method)
    service = METHODS[method].containing_service
    servicer = SimpleNamespace(**dict.fromkeys(service.methods_by_name))
    with pytest.raises(LookupError, match=f"{method} must not be served: no rule says who may call it"):
        Guard(tokens, client_certificates=False).guarded(service, servicer)


def test_a_server_with_a_method_that_has_no_rule_does_not_start():
    script = """
import sys
from gradserve.cli import main
from gradserve_server.security.rules import RULES
del RULES["gradserve.v1.InferenceService.Forward"]
sys.exit(main(["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "gradserve.v1.InferenceService.Forward must not be served" in ended.stderr


@pytest.mark.parametrize("method", RULES)
def test_a_rule_names_the_field_that_names_the_model(method: str):
    """All methods that have such a field are limited to a token's models, but for health, which is for everybody."""
    same = {name: name for name in ("model", "model_name", "name")}
    paths = {**same, "header": "header.model", "request": "request.model"}
    fields = [field.name for field in METHODS[method].input_type.fields]
    assert RULES[method].model == next((path for field, path in paths.items() if field in fields), "")
    assert bool(RULES[method].model) == bool(request_of(method, "m").ByteSize())

"""The table of rules: every method that is served is in it, and none else."""

import asyncio

import pytest

from gradserve_server.app import Server
from gradserve_server.config import Config, StoreConfig
from gradserve_server.security.rules import RULES
from tests.support.methods import METHODS, request_of

EPHEMERAL = Config(store=StoreConfig(ephemeral=True), models={})


def test_every_method_has_a_rule_and_every_rule_is_of_a_method():
    assert RULES.keys() == METHODS.keys()


@pytest.mark.parametrize("method", RULES)
def test_a_server_does_not_start_with_a_method_that_has_no_rule(method: str, monkeypatch: pytest.MonkeyPatch):
    async def make() -> None:
        Server(EPHEMERAL)

    monkeypatch.delitem(RULES, method)
    with pytest.raises(LookupError, match=f"{method} must not be served: no rule says who may call it"):
        asyncio.run(make())


@pytest.mark.parametrize("method", RULES)
def test_a_rule_names_the_field_that_names_the_model(method: str):
    """All methods that have such a field are limited to a token's models, but for health, which is for everybody."""
    names = {field.name for field in METHODS[method].input_type.fields}
    expected = next((name for name in ("model", "name") if name in names), "header.model" if "header" in names else "")
    assert RULES[method].model == expected
    assert request_of(method, "m").ByteSize() > 0 or not expected

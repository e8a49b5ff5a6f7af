"""Tokens: the file that lists them, and what each allows."""

import hashlib
import re

import pytest

from gradserve_server.config import Right, make_token, parse_tokens
from gradserve_server.errors import PermissionDenied, Unauthenticated
from gradserve_server.security.tokens import Token, Tokens

DIGEST = "0123456789abcdef" * 4
SECRET = "gradserve_pasted-by-mistake"  # noqa: S105 - it is none


def line(**values: object) -> str:
    fields = {"sha256": f'"{DIGEST}"', "rights": '["forward"]', **values}
    return f"a = {{ {', '.join(f'{key} = {value}' for key, value in fields.items() if value)} }}"


def the_token(text: str) -> Token:
    (token,) = parse_tokens(text).items()
    return Token(*token)


class TestFile:
    def test_a_line_that_was_made_is_read_as_it_was_meant(self):
        made = make_token("a.b", ["forward", "weights:read"], ["x-*", "y"])
        (read,) = parse_tokens(made.line).items()
        assert read[0] == "a.b"
        assert read[1].sha256 == hashlib.sha256(made.text.encode()).hexdigest()
        assert read[1].rights == (Right.FORWARD, Right.WEIGHTS_READ)
        assert read[1].models == ("x-*", "y")

    def test_no_two_tokens_that_are_made_are_the_same(self):
        assert len({make_token("a", ["forward"], ["*"]).text for _ in range(100)}) == 100

    def test_an_empty_file_has_no_tokens(self):
        assert parse_tokens("# nobody yet") == {}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("a = ", "is not TOML"),
            (f"{line()}\n{line()}", "has a name twice"),
            (line(sha256=""), "a.sha256: "),
            (line(sha256=f'"{SECRET}"'), "a.sha256 must be the 64 lower-case hexadecimal digits"),
            (line(sha256=f'"{DIGEST.upper()}"'), "a.sha256 must be the 64 lower-case hexadecimal digits"),
            (line(sha256="7"), "a.sha256: "),
            (line(rights=""), "a.rights: "),
            (line(rights="[]"), "a.rights: "),
            (line(rights='["forwards"]'), "a.rights[0]: must be 'forward', 'gradient', 'weights:read'"),
            (line(rights='"forward"'), "a.rights: "),
            (line(models="[]"), "a.models: "),
            (line(models='["Digits"]'), "a.models[0] must be a glob of a-z"),
            (line(right='["forward"]'), "unknown key 'a.right'"),
            (f'a = "{SECRET}"', "a: "),
            (f'"a b" = "{SECRET}"', "a b must be named by 1 to 128 of"),
            (f"{line()}\nb{line()[1:]}", "b has the sha256 of a"),
        ],
    )
    def test_a_file_that_is_wrong_is_refused_without_repeating_what_may_be_a_token(self, text: str, says: str):
        with pytest.raises(ValueError, match=re.escape(says)) as caught:
            parse_tokens(text)
        assert "\n" not in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "rights", "models"), [("a b", ["forward"], ["*"]), ("a", ["all"], ["*"]), ("a", ["forward"], ["A"])]
    )
    def test_a_token_that_no_file_may_hold_is_not_made(self, name: str, rights: list[str], models: list[str]):
        with pytest.raises(ValueError, match="must be"):
            make_token(name, rights, models)


class TestAuthentication:
    MADE = make_token("caller", ["forward"], ["*"])
    TOKENS = Tokens(parse_tokens(MADE.line))

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_a_token_is_known_by_its_text(self, scheme: str):
        assert self.TOKENS.authenticate(f"{scheme} {self.MADE.text}").name == "caller"

    @pytest.mark.parametrize("authorization", [None, "", "Basic YTpi", "Bearer", MADE.text])
    def test_what_is_no_token_is_told_that_one_is_required(self, authorization: str | None):
        with pytest.raises(Unauthenticated) as caught:
            self.TOKENS.authenticate(authorization)
        assert caught.value.reason == "TOKEN_REQUIRED"

    @pytest.mark.parametrize("text", ["", " ", MADE.text[:-1], f"{MADE.text} ", MADE.text.upper(), "é"])
    def test_another_text_is_not_valid_and_not_repeated(self, text: str):
        with pytest.raises(Unauthenticated) as caught:
            self.TOKENS.authenticate(f"Bearer {text}")
        assert caught.value.reason == "TOKEN_INVALID"
        assert caught.value.text == "the token is not valid"

    def test_the_hash_of_a_token_is_no_token(self):
        (config,) = parse_tokens(self.MADE.line).values()
        with pytest.raises(Unauthenticated):
            self.TOKENS.authenticate(f"Bearer {config.sha256}")


class TestRights:
    @pytest.mark.parametrize("right", Right)
    def test_a_token_has_the_rights_of_its_line_and_no_others(self, right: Right):
        the_token(line(rights=f'["{right}"]')).check(right)
        for other in set(Right) - {right}:
            with pytest.raises(PermissionDenied):
                the_token(line(rights=f'["{right}"]')).check(other)

    def test_any_token_may_do_what_needs_no_right(self):
        the_token(line()).check(None)

    @pytest.mark.parametrize(
        ("models", "allowed", "denied"),
        [
            ("", ["a", "digits"], []),
            ('["a"]', ["a"], ["ab", "b", "aa"]),
            ('["a-*", "b?"]', ["a-", "a-1", "bc"], ["a", "b", "bcd", "xa-1"]),
            ('["[ab]"]', ["a", "b"], ["c", "ab"]),
            ('["a.b"]', ["a.b"], ["axb"]),
        ],
    )
    def test_a_token_is_for_the_models_that_its_globs_match(self, models: str, allowed: list[str], denied: list[str]):
        token = the_token(line(models=models))
        assert [name for name in [*allowed, *denied] if token.allows(name)] == allowed

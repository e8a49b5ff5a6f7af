"""What `wrt` and the globs of `requires_grad` select: pure functions over parameter names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gradserve_server.errors import FailedPrecondition, InvalidArgument

INPUT = "input"
"""The word in `wrt` that means the input; no glob matches it."""


_MOST_GLOBS = 1024
_LONGEST_GLOB = 512


@dataclass(frozen=True)
class Selection:
    """What to differentiate with respect to: parameter names in `named_parameters()` order, and perhaps the input."""

    parameters: tuple[str, ...]
    input: bool


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a glob matches, case-sensitively; `*` crosses dots, as in `fnmatch`."""
    return [name for name in names if fnmatchcase(name, pattern)]


def check_globs(patterns: Sequence[str], field: str) -> None:
    """Refuse globs that would take long to match.

    Raises:
        InvalidArgument: If there are more than 1024, or one is longer than 512 characters.
    """
    if len(patterns) > _MOST_GLOBS:
        raise InvalidArgument(f"has {len(patterns)} globs; at most {_MOST_GLOBS} are allowed", field=field)
    if any(len(pattern) > _LONGEST_GLOB for pattern in patterns):
        raise InvalidArgument(f"has a glob of more than {_LONGEST_GLOB} characters", field=field)


def check_trainable(name: str, requires_grad: Mapping[str, bool], field: str) -> None:
    """Refuse to differentiate by a frozen parameter that is named in full; any other name will do.

    Raises:
        FailedPrecondition: If it is one.
    """
    if not requires_grad.get(name, True):
        message = f"{name} does not require grad: set its requires_grad before differentiating by it"
        raise FailedPrecondition(message, field=field, reason="PARAMETER_FROZEN")


def select(wrt: Sequence[str], requires_grad: Mapping[str, bool]) -> Selection:
    """Resolve `wrt` against the parameters and their requires_grad flags.

    Globs form a union and skip frozen parameters. An empty `wrt` means every parameter that requires grad.

    Raises:
        InvalidArgument: If an entry is empty, occurs twice, or matches no parameter.
        FailedPrecondition: If a frozen parameter is named in full, or nothing is left to differentiate by.
    """
    check_globs(wrt, "wrt")
    chosen: set[str] = set()
    seen: set[str] = set()
    for index, pattern in enumerate(wrt):
        field = f"wrt[{index}]"
        if pattern in seen:
            raise InvalidArgument(f"{pattern!r} stands here twice", field=field)
        seen.add(pattern)
        if pattern == INPUT:
            continue
        if not (matches := matching(pattern, requires_grad)):
            names = ", ".join([*requires_grad, INPUT][:10])
            raise InvalidArgument(f"{pattern!r} matches no parameter; there are: {names}", field=field)
        check_trainable(pattern, requires_grad, field)
        chosen.update(matches)
    wanted = chosen if wrt else set(requires_grad)
    parameters = tuple(name for name, trainable in requires_grad.items() if trainable and name in wanted)
    if not parameters and INPUT not in wrt:
        message = 'no parameter that requires grad is selected: name others, or "input", in wrt'
        raise FailedPrecondition(message, field="wrt", reason="NOTHING_REQUIRES_GRAD")
    return Selection(parameters, INPUT in wrt)


def updated_flags(changes: Sequence[tuple[str, bool]], requires_grad: Mapping[str, bool]) -> dict[str, bool]:
    """The requires_grad flags after some changes, each a glob and its flag; a later one wins.

    Raises:
        InvalidArgument: If a glob matches no parameter.
    """
    check_globs([pattern for pattern, _ in changes], "requires_grad")
    flags = dict(requires_grad)
    for index, (pattern, flag) in enumerate(changes):
        if not (matches := matching(pattern, requires_grad)):
            field = f"requires_grad[{index}].parameters"
            raise InvalidArgument(f"{pattern!r} matches no parameter", field=field)
        flags.update(dict.fromkeys(matches, flag))
    return flags

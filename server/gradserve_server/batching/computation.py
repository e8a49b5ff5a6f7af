"""How a batch is computed, on whichever thread."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from time import perf_counter
from typing import Any

from gradserve_server.batching.entry import Batch, Entry, too_late
from gradserve_server.batching.request import Request
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError
from gradserve_server.facts import BatchFact
from gradserve_server.hosted import HostedModel


def computed_at_once(request: Request[Any, Any, Any], hosted: HostedModel, work: Work[Any]) -> Any:  # noqa: ANN401 - of any operation
    """The result of a request that never waited, or its refusal; `request.batch` tells of it.

    Raises:
        ServiceError: If its time is over, or the model is at another version than expected.
    """
    left = request.origin.seconds_left
    if left is not None and left <= 0:
        raise too_late()
    hosted.check_read(work.call.if_version)
    started = perf_counter()
    (result,) = request.operation.compute(hosted.model, (work,))
    seconds = perf_counter() - started
    request.rows, request.queue_seconds = work.rows, 0.0
    request.batch = BatchFact(hosted.name, request.operation.name, "single", work.rows, seconds, hosted.version)
    return result


def answers(batch: Batch) -> list[Any]:
    """Compute the requests of a batch that are still wanted, and build their replies.

    Returns:
        For each request its reply, or the exception that it is to get.
    """
    found: dict[Entry, Any] = {}
    for group in _groups(entry for entry in batch.entries if entry.is_wanted):
        found.update(zip(group, _computed(batch.hosted, group), strict=True))
    return [found[entry] if entry in found else too_late() for entry in batch.entries]


def _groups(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The requests that can be computed together: all of them, unless the model changed since they were chosen."""
    groups: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry if entry.key is None else entry.key, []).append(entry)
    return list(groups.values())


def _computed(hosted: HostedModel, entries: Sequence[Entry]) -> list[Any]:
    """The answers to requests of equal keys.

    Where the whole fails, for a bug or for want of memory, each is tried alone: none fails for its neighbours.
    """
    try:
        results = entries[0].request.operation.compute(hosted.model, [entry.work for entry in entries])
    except Exception as error:  # noqa: BLE001 - it belongs to whoever causes it, and ends at the caller's boundary
        hosted.device.examine(error)
        if len(entries) == 1:
            return [error]
        return [answer for entry in entries for answer in _computed(hosted, [entry])]
    return [_answer(entry, result, hosted.version) for entry, result in zip(entries, results, strict=True)]


def _answer(entry: Entry, result: object, version: int) -> Any:  # noqa: ANN401 - of any operation
    if isinstance(result, ServiceError):
        return result
    try:
        return entry.request.answer(result, version)
    except Exception as error:  # noqa: BLE001 - as above
        return error

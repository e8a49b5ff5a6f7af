"""One request to a model, from its arrival to its end."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np

from gradserve_server.errors import ServiceError
from gradserve_server.facts import Instruments, Outcome, RequestFact, outcome_of
from gradserve_server.operations import Array
from gradserve_server.rpc import Context, code_name


class Observation:
    """A block in which a request is answered or refused; at its end, however that comes, the instruments are told.

    Attributes:
        rows: How many were computed.
        queue_seconds: How long they waited for it.
        finite: Whether every number of the reply is finite.
    """

    __slots__ = ("_context", "_instruments", "_model", "_operation", "_start", "finite", "queue_seconds", "rows")

    def __init__(self, instruments: Instruments, model: str, operation: str, context: Context) -> None:
        """Begin with nothing computed.

        Args:
            instruments: Told what happens.
            model: The name of a model that is in the registry.
            operation: "forward" or "gradient".
            context: Of the call.
        """
        self._instruments = instruments
        self._model = model
        self._operation = operation
        self._context = context
        self.rows = 0
        self.queue_seconds: float | None = None
        self.finite = True

    def __enter__(self) -> Self:
        self._start = perf_counter()
        self._instruments.request_started(self._operation)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        outcome: Outcome = "ok" if error is None else outcome_of(code_name(error, self._context))
        reason = error.reason if isinstance(error, ServiceError) else ""
        seconds = perf_counter() - self._start
        self._instruments.request_finished(
            RequestFact(
                self._model, self._operation, outcome, seconds, self.rows, self.queue_seconds, self.finite, reason
            )
        )

    def computed(self, rows: int, *replied: Array | None) -> None:
        """Look at what was computed.

        Args:
            rows: The product of the input's leading dimensions.
            replied: The arrays of the reply; None for those that it does not have.
        """
        self.rows = rows
        self.finite = all(_is_finite(array) for array in replied if array is not None)


def _is_finite(array: Array) -> bool:
    # Of a small array half as long as isfinite(array).all().
    return bool(np.count_nonzero(np.isfinite(array)) == array.size)

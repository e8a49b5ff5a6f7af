"""`gradserve` with a leak: each unary call leaves 1 KB behind. A check of memory that this passes is no check."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from gradserve.cli import main

_BYTES = 1000

_leaked: list[bytearray] = []
_make_handler = grpc.unary_unary_rpc_method_handler


def _leaking_handler(behaviour: Callable[[Any, Any], Awaitable[Any]], *args: Any, **named: Any) -> Any:  # noqa: ANN401
    async def leak(request: object, context: object) -> object:
        _leaked.append(bytearray(_BYTES))
        return await behaviour(request, context)

    return _make_handler(leak, *args, **named)


if __name__ == "__main__":
    # Before the server is loaded, which takes it from here.
    grpc.unary_unary_rpc_method_handler = _leaking_handler  # type: ignore[assignment]
    sys.exit(main())

"""What all that is done with one model of a server starts from."""

from __future__ import annotations

from gradserve._async.caller import Caller


class Handle:
    """A model's name, and who calls."""

    def __init__(self, name: str, caller: Caller) -> None:
        self.name = name
        self._caller = caller

# Written by client/generate.py from gradserve/_async/handle.py: edit that, and run `make sync`.
"""What all that is done with one model of a server starts from."""

from __future__ import annotations

from gradserve._sync.caller import Caller


class Handle:
    """A model's name, and who calls."""

    def __init__(self, name: str, caller: Caller) -> None:
        self.name = name
        self._caller = caller

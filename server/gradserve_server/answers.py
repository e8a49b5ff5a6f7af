"""What loads were told, so that one that is sent again is answered again and not done twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gradserve_server.checkpoints.manifest import AcceptedLoad
from gradserve_server.errors import AlreadyExists

_REMEMBERED = 128


class Answers:
    """The latest answers to one model's loads that had an id."""

    def __init__(self, loads: Iterable[AcceptedLoad] = ()) -> None:
        self._loads = OrderedDict((load.request_id, load) for load in loads)

    def __contains__(self, request_id: str) -> bool:
        """Whether a load of that id was answered."""
        return request_id in self._loads

    def given(self, request_id: str, sha256: bytes) -> AcceptedLoad | None:
        """What an earlier load of the same id and the same bytes was told; None if there was none.

        Raises:
            AlreadyExists: If the earlier one sent other bytes.
        """
        load = self._loads.get(request_id)
        if load is not None and load.sha256 != sha256:
            message = "an earlier request with this id sent other bytes"
            raise AlreadyExists(message, field="request_id", reason="REQUEST_ID_REUSED")
        return load

    def remember(self, load: AcceptedLoad) -> None:
        """Keep an answer, in the place of the oldest if there are many; one without an id is not kept."""
        if load.request_id:
            self._loads[load.request_id] = load
            if len(self._loads) > _REMEMBERED:
                self._loads.popitem(last=False)

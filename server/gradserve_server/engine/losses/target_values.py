"""The values of a target: refused here where torch would refuse them, or a GPU's assertion would be final."""

from __future__ import annotations

import numpy as np

from gradserve_server.engine.losses.binding import BoundLoss
from gradserve_server.engine.losses.kinds import IGNORE_INDEX, Target
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import LossCall

_FEW = 64


def check_target(loss: BoundLoss, call: LossCall) -> int:
    """Check the values of a request's target.

    Returns:
        How many of its class ids are ignored; 0 for other targets.

    Raises:
        InvalidArgument: If a class id is out of range, or a probability lies outside [0, 1].
    """
    if (target := call.target) is None:
        return 0
    if loss.classes is not None:
        return _check_ids(loss, target)
    if loss.kind.probabilities and not bool(((target >= 0) & (target <= 1)).all()):
        raise InvalidArgument(f"{call.name} takes a target in [0, 1]", field="loss.target")
    return 0


def _check_ids(loss: BoundLoss, ids: Array) -> int:
    classes = loss.classes or 0
    lowest = -1 if loss.kind.target is Target.CLASSES else 0
    ignore_index = loss.numbers.get("ignore_index", IGNORE_INDEX)
    if not ids.size:
        return 0
    least, greatest = _range(ids)
    if lowest <= least and greatest < classes and not least <= ignore_index <= greatest:
        return 0
    is_ignored = ignored_ids(loss, ids)
    wrong = ((ids < lowest) | (ids >= classes)) & ~is_ignored
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        message = f"class id {ids[place]} at {list(place)} is out of range for {classes} classes"
        raise InvalidArgument(message, field="loss.target", reason="CLASS_OUT_OF_RANGE")
    return int(np.count_nonzero(is_ignored))


def ignored_ids(loss: BoundLoss, ids: Array) -> Array:
    """Which class ids of a target a loss ignores."""
    if "ignore_index" not in loss.kind.arguments:
        return np.zeros(ids.shape, bool)
    return np.asarray(ids == loss.numbers.get("ignore_index", IGNORE_INDEX))


def _range(ids: Array) -> tuple[int, int]:
    # Of few numbers Python tells it several times as fast as NumPy.
    if ids.size <= _FEW:
        few = ids.ravel().tolist()
        return min(few), max(few)
    return int(ids.min()), int(ids.max())

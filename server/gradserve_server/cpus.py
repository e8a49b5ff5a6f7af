"""How many processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = _CGROUP) -> float:
    """Those that the system runs it on, and no more than its container's quota: 1.5 for half as much again as one.

    Args:
        cgroup: The folder of the process's own cgroup, of version 2, as a container sees it; others set no quota.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        # Kernel documentation, "Control Group v2", cpu.max: the quota, or "max", and the period, both in microseconds.
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(count, int(quota) / int(period))
    except (OSError, ValueError):
        return count

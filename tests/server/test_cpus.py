"""How many processors a process may use."""

import os

import pytest

from gradserve_server.cpus import usable_cpus

OWN = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("quota", "expected"), [("50000 100000", 0.5), ("100000 100000", 1), ("max 100000", OWN), ("900000000 1000", OWN)]
)
def test_a_container_uses_no_more_than_its_quota(tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")

    assert usable_cpus(tmp_path) == expected


def test_without_a_container_it_is_what_the_system_says(tmp_path):
    assert usable_cpus(tmp_path / "none") == OWN


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_that_is_bound_to_one_processor_uses_one(tmp_path):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cpus(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)

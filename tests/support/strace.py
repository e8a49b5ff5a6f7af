"""strace, which shows and hinders the system calls of a process."""

import os
import shutil

import pytest


def require_strace(untested: str) -> None:
    """Without it the test is skipped, loudly, and fails on the machine that decides."""
    if shutil.which("strace") is None:
        message = f"strace is not installed: {untested} NOT TESTED (apt-get install strace)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)

"""Chunks on their way to readers of weights: few are large at one time."""

from contextlib import ExitStack

from gradserve_server.servicers.state_streams import LargeChunks

CHUNK = bytes(range(256)) * 4096


def sizes(large_chunks: LargeChunks, stack: ExitStack) -> set[int]:
    """The sizes in which one more chunk is sent, until the stack ends."""
    parts = list(stack.enter_context(large_chunks.parts(memoryview(CHUNK))))
    assert b"".join(parts) == CHUNK
    return {len(part) for part in parts}


def test_eight_chunks_are_sent_whole_at_one_time_and_more_in_small_parts():
    large_chunks = LargeChunks()
    with ExitStack() as stack:
        assert [sizes(large_chunks, stack) for _ in range(10)] == [{len(CHUNK)}] * 8 + [{65_536}] * 2
    with ExitStack() as stack:
        assert sizes(large_chunks, stack) == {len(CHUNK)}

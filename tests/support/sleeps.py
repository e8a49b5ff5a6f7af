"""Whether an event loop would sleep: seen where it asks the system to be woken."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable


class _Sleeps(selectors.DefaultSelector):
    """Takes note of whether the loop was ever ready to wait."""

    seen = False

    def select(self, timeout=None):
        self.seen |= timeout is None or timeout > 0
        return super().select(timeout)


def sleeps_after(do: Callable[[], Awaitable[object]]) -> bool:
    """Whether a loop sleeps once something has been done on it and there is nothing else to do."""
    sleeps = _Sleeps()

    async def watch() -> None:
        await do()
        sleeps.seen = False
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(sleeps)) as runner:
        runner.run(watch())
    return sleeps.seen

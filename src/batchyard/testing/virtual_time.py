"""An event loop whose clock jumps: hours of sleeping take no time, and threads are waited for.

    def test_...() -> None:
        run_virtually(main)     # async def main(time: VirtualTime) -> None

The clock moves only while nothing can run and no thread works for the loop; then it jumps to the
next timer. So an order of events that depends on timers is the same in every run.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple, Unpack

from batchyard.kernel.faults import StoreUnavailable
from batchyard.store.port import Reader, Store, Transaction

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_MS = 1_700_000_000_000


class VirtualTime(asyncio.SelectorEventLoop):
    """The loop and its clock in one."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._elsewhere = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now_s

    def now_ms(self) -> int:
        """Epoch milliseconds by this clock."""
        return START_MS + int(self._now_s * 1000)

    def jump(self, for_s: float) -> None:
        """Move the clock at once, as on a machine that slept; what is due by then is due now."""
        self._now_s += for_s

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Something that wakes the loop from outside is under way: the clock stands still."""
        self._elsewhere += 1
        try:
            yield
        finally:
            self._elsewhere -= 1

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        future = super().run_in_executor(executor, func, *args)
        self._elsewhere += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self._elsewhere -= 1

    def pass_time(self, timeout_s: float) -> bool:
        """Jump to the next timer; False when the loop must really wait."""
        if self._elsewhere:
            return False
        self._now_s += timeout_s
        return True


class _Selector(selectors.DefaultSelector):
    """Looks for input without waiting, and lets the clock jump where there is none."""

    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None and self._loop.pass_time(timeout):
            return ready
        return super().select(None)


class PatientStore:
    """A store whose writes the virtual clock waits for; reads it waits for by itself.

    `kill` is what SIGKILL does to a server's hold on its store: nothing it asks for afterwards is
    done, and it never learns whether what it asked for before was.
    """

    def __init__(self, store: Store, time: VirtualTime) -> None:
        self._store = store
        self._time = time
        self._dead = False

    def kill(self) -> None:
        self._dead = True

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        self._check_alive()
        with self._time.elsewhere():
            written = await self._store.write(fn)
        self._check_alive()
        return written

    async def read(self, fn: Callable[[Reader], T]) -> T:
        self._check_alive()
        found = await self._store.read(fn)
        self._check_alive()
        return found

    def read_now(self, fn: Callable[[Reader], T]) -> T:
        return self._store.read_now(fn)

    async def close(self) -> None:
        await self._store.close()

    def _check_alive(self) -> None:
        if self._dead:
            raise StoreUnavailable("this server was killed", hint="Ask the one that came after it.")


def run_virtually(main: Callable[[VirtualTime], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a virtual clock that starts at `START_MS`."""
    time = VirtualTime()
    with asyncio.Runner(loop_factory=lambda: time) as runner:
        return runner.run(main(time))

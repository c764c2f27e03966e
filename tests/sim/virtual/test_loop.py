"""The loop in virtual time: it does what asyncio's own loop does, at once, and twice the same."""

from __future__ import annotations

import asyncio
import selectors
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.virtual.agenda import NS_PER_S, START_NS, Agenda
from sim.virtual.loop import VirtualLoop

Program = Callable[[list[Any]], Awaitable[None]]
UNIT_S = 0.02  # of the programs' time


def on_virtual_loop(program: Program) -> list[Any]:
    said: list[Any] = []
    agenda = Agenda()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(agenda)) as runner:
        runner.run(_main(program, said))
    return said


class SkippingSelector(selectors.DefaultSelector):
    """Does not wait for a timer that is next: its clock is there at once, and no stall comes between two timers."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "the program waits for what will never come"
            self.now_s += max(timeout, 0.0)
        return found


class RealLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, every line of it but the clock."""

    def __init__(self) -> None:
        self._skipping = SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now_s


def on_real_loop(program: Program) -> list[Any]:
    said: list[Any] = []
    with asyncio.Runner(loop_factory=RealLoop) as runner:
        runner.run(_main(program, said))
    return said


async def _main(program: Program, said: list[Any]) -> None:
    await program(said)


# Programs that say in which order things happen.


async def sleepers(said: list[Any]) -> None:
    async def one(number: int) -> None:
        await asyncio.sleep(number * UNIT_S)
        said.append(number)

    await asyncio.gather(*(one(number) for number in (3, 1, 2, 0)))


async def waits_with_timeouts(said: list[Any]) -> None:
    event = asyncio.Event()
    try:
        await asyncio.wait_for(event.wait(), UNIT_S)
    except TimeoutError:
        said.append("timed out")
    said.append(await asyncio.wait_for(asyncio.sleep(UNIT_S, "slept"), 20 * UNIT_S))
    try:
        async with asyncio.timeout(UNIT_S):
            await asyncio.sleep(50 * UNIT_S)
    except TimeoutError:
        said.append("timed out again")


async def groups_and_cancels(said: list[Any]) -> None:
    async def endless(name: str) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            said.append(f"{name} canceled")
            raise

    async def breaks() -> None:
        await asyncio.sleep(UNIT_S)
        raise ValueError("a mistake")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(endless("a"))  # one: asyncio keeps no order among those that it cancels
            group.create_task(breaks())
    except* ValueError as errors:
        said.append([str(error) for error in errors.exceptions])
    task = asyncio.create_task(endless("c"))
    await asyncio.sleep(0)
    task.cancel()
    said.append([type(each).__name__ for each in await asyncio.gather(task, return_exceptions=True)])


async def shields(said: list[Any]) -> None:
    async def inner() -> str:
        await asyncio.sleep(2 * UNIT_S)
        said.append("inner is through")
        return "kept"

    task = asyncio.create_task(inner())
    try:
        await asyncio.wait_for(asyncio.shield(task), UNIT_S)
    except TimeoutError:
        said.append("outer gave up")
    said.append(await task)


async def scopes(said: list[Any]) -> None:
    with anyio.move_on_after(UNIT_S) as scope:
        await anyio.sleep_forever()
    said.append(scope.cancelled_caught)
    with anyio.move_on_after(UNIT_S), anyio.CancelScope(shield=True):
        await anyio.sleep(3 * UNIT_S)
        said.append("shielded")
    try:
        with anyio.fail_after(UNIT_S):
            await anyio.sleep_forever()
    except TimeoutError:
        said.append("failed")


async def anyio_groups(said: list[Any]) -> None:
    ready, limiter = anyio.Event(), anyio.CapacityLimiter(1)
    send, receive = anyio.create_memory_object_stream[int](2)

    async def begins(*, task_status: anyio.abc.TaskStatus[str]) -> None:
        task_status.started("begun")
        await ready.wait()
        said.append("woken")

    async def one(number: int) -> None:
        async with limiter:
            said.append(("in", number))
            await anyio.sleep(UNIT_S)
            said.append(("out", number))

    async def sends() -> None:
        async with send:
            for number in range(4):
                await send.send(number)

    async with anyio.create_task_group() as group:
        said.append(await group.start(begins))
        ready.set()
        for number in range(3):
            group.start_soon(one, number)
        group.start_soon(sends)
        async for number in receive:
            said.append(number)
        group.start_soon(anyio.sleep_forever)
        await anyio.sleep(8 * UNIT_S)
        group.cancel_scope.cancel()


async def generators(said: list[Any]) -> None:
    async def count() -> Any:
        try:
            for number in range(10):
                yield number
                await asyncio.sleep(0)
        finally:
            said.append("closed")

    async for number in count():
        said.append(number)
        if number == 2:
            break
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    lock, condition = asyncio.Lock(), asyncio.Condition()

    async def fills() -> None:
        for number in range(3):
            async with lock:
                await queue.put(number)
        async with condition:
            condition.notify_all()

    task = asyncio.create_task(fills())
    async with condition:
        said.extend([await queue.get() for _ in range(3)])
        await condition.wait()
    await task


PROGRAMS: list[Program] = [
    sleepers,
    waits_with_timeouts,
    groups_and_cancels,
    shields,
    scopes,
    anyio_groups,
    generators,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_it_does_what_the_real_loop_does(program: Program) -> None:
    assert on_virtual_loop(program) == on_real_loop(program)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.booleans()), max_size=8))
def test_timers_and_cancels_are_as_a_list_in_order_would_have_them(plan: list[tuple[int, int, bool]]) -> None:
    """Sleeps that are canceled while they last do not end; the others end by their time, then in the order they began."""

    async def program(said: list[Any]) -> None:
        async def one(number: int, ticks: int) -> None:
            await asyncio.sleep(ticks)
            said.append(number)

        tasks = [asyncio.create_task(one(number, ticks)) for number, (ticks, _, _) in enumerate(plan)]
        loop = asyncio.get_running_loop()
        for task, (_, at, is_canceled) in zip(tasks, plan, strict=True):
            if is_canceled:
                loop.call_later(at - 0.5, task.cancel)
        await asyncio.wait(tasks) if tasks else None

    ends = [(ticks, number) for number, (ticks, at, is_canceled) in enumerate(plan) if not is_canceled or at - 0.5 > ticks]
    assert on_virtual_loop(program) == [number for _, number in sorted(ends)]


@given(st.lists(st.floats(0, 1e7, allow_nan=False), min_size=1, max_size=20))
def test_a_timer_that_fires_finds_itself_due(delays: list[float]) -> None:
    agenda, early = Agenda(), []
    loop = VirtualLoop(agenda)

    def fires(when: float) -> None:
        if loop.time() < when:
            early.append(when)

    for delay in delays:
        loop.call_at(delay, fires, delay)
    while agenda.step():
        pass
    assert early == []
    loop.close()


def test_a_year_takes_no_time() -> None:
    agenda, began = Agenda(), time.monotonic()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(agenda)) as runner:
        runner.run(asyncio.sleep(365 * 86_400))
    assert agenda.ns - START_NS >= 365 * 86_400 * NS_PER_S
    assert time.monotonic() - began < 60


def test_what_waits_for_nothing_is_said_to() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    runner = asyncio.Runner(loop_factory=lambda: VirtualLoop(Agenda()))
    with pytest.raises(RuntimeError, match="what will never come"):
        runner.run(forever())


def test_two_loops_share_one_time_and_neither_knows_of_the_other() -> None:
    agenda, said = Agenda(), []
    loops = [VirtualLoop(agenda, name=name) for name in ("a", "b")]

    async def one(name: str, ticks: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        assert loop.name == name
        for _ in range(3):
            await anyio.sleep(ticks)
            said.append((name, round(loop.time(), 2)))

    tasks = [loop.create_task(one(loop.name, ticks)) for loop, ticks in zip(loops, (1.0, 0.7), strict=True)]
    assert agenda.run_until(lambda: all(task.done() for task in tasks), agenda.ns + 10 * NS_PER_S)
    assert said == [("b", 0.7), ("a", 1.0), ("b", 1.4), ("a", 2.0), ("b", 2.1), ("a", 3.0)]
    for loop in loops:
        loop.close()


def test_an_abandoned_loop_has_no_more_effect_on_the_time_of_the_others() -> None:
    agenda, said = Agenda(), []
    loop = VirtualLoop(agenda)

    async def tidies_up() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            with anyio.move_on_after(5, shield=True):
                await anyio.sleep_forever()
            said.append("tidied up in a time of its own")

    async def does_not_listen() -> None:
        while True:
            try:
                await asyncio.sleep(3)
            except asyncio.CancelledError:
                if len(said) > 5:
                    raise
                said.append("no")

    tasks = [loop.create_task(tidies_up()), loop.create_task(does_not_listen())]
    agenda.run_to(agenda.ns + NS_PER_S)
    now = agenda.ns
    loop.abandon()
    assert agenda.ns == now
    assert not agenda.step()
    assert all(task.done() for task in tasks)
    assert "tidied up in a time of its own" in said


def test_a_stalled_loop_stands_still_and_then_goes_on() -> None:
    agenda, said = Agenda(), []
    loop = VirtualLoop(agenda)

    async def ticks() -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            said.append(round(loop.time(), 3))

    task = loop.create_task(ticks())
    agenda.at(agenda.ns + 1_500_000_000, loop.stall, 30 * NS_PER_S)
    agenda.run_until(task.done, agenda.ns + 100 * NS_PER_S)
    assert said == [1.0, 31.5, 32.5, 33.5]
    loop.close()


def test_signals_come_from_the_world() -> None:
    agenda, said = Agenda(), []
    loop = VirtualLoop(agenda)

    async def listens() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for number in signals:
                said.append(number)
                return

    task = loop.create_task(listens())
    agenda.run_to(agenda.ns + NS_PER_S)
    assert loop.signal(signal.SIGTERM)
    assert not loop.signal(signal.SIGINT)
    agenda.run_until(task.done, agenda.ns + NS_PER_S)
    assert said == [signal.SIGTERM]
    assert not loop.signal(signal.SIGTERM)
    loop.close()


def test_there_are_no_threads_and_no_files() -> None:
    loop = VirtualLoop(Agenda())
    assert loop.run_in_executor(None, sum, (1, 2)).result() == 3
    with pytest.raises(NotImplementedError, match="create_connection"):
        loop.add_reader(0, print)
    loop.close()


def test_what_spins_until_it_is_later_comes_to_its_end() -> None:
    """A timer that is set for now again and again, and a cancellation that is not heeded: both only wait."""

    async def spins() -> float:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.001
        while loop.time() < until:
            await asyncio.sleep(0)
        with anyio.move_on_after(1) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(heedless)
        assert scope.cancelled_caught
        return loop.time()

    async def heedless() -> None:
        end = asyncio.get_running_loop().time() + 60
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        raise asyncio.CancelledError

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(Agenda())) as runner:
        assert 60 < runner.run(spins()) < 62

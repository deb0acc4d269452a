"""How a worker times: each function gives a figure, and the microseconds of the processor that each call took."""

import asyncio
import gc
import threading
import time
from contextlib import contextmanager


@contextmanager
def timing(count):
    """Gives a list, which holds at the end what each of `count` calls of the block took, in microseconds."""
    took = []
    gc.collect()
    gc.disable()
    elapsed = clock()
    yield took
    took += (seconds / count * 1e6 for seconds in elapsed())
    gc.enable()


def clock():
    """Gives the seconds since it was made, and those of the processor, each time that it is called."""
    began, worked = time.perf_counter(), time.process_time()
    return lambda: (time.perf_counter() - began, time.process_time() - worked)


def timed(count, call):
    """Microseconds of one of `count` calls."""
    with timing(count) as took:
        for _ in range(count):
            call()
    return took


async def timed_async(count, call):
    """The same, of a coroutine function."""
    with timing(count) as took:
        for _ in range(count):
            await call()
    return took


async def rate_of_tasks(count, tasks, call):
    """Calls a second of that many tasks."""
    each = count // tasks

    async def run():
        for _ in range(each):
            await call()

    await asyncio.gather(*(call() for _ in range(tasks)))
    return await rate(each * tasks, asyncio.gather(*(run() for _ in range(tasks))))


async def rate(count, made):
    """Calls a second, of which `count` are made when that is done."""
    elapsed = clock()
    await made
    return rate_in(count, *elapsed())


def rate_in(count, seconds, worked):
    return count / seconds, worked / count * 1e6


def rate_of_threads(count, threads, caller):
    """Calls a second of that many threads, each with a call that `caller` makes for it."""
    each = count // threads
    go = threading.Barrier(threads + 1)

    def run():
        call = caller()
        call()
        go.wait()
        for _ in range(each):
            call()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    go.wait()
    elapsed = clock()
    for thread in running:
        thread.join()
    return rate_in(each * threads, *elapsed())

"""How a worker times: each function gives a figure, and the microseconds of the processor that each call took."""

import asyncio
import gc
import threading
import time


def timed(count, call):
    """Microseconds of one of `count` calls."""
    gc.collect()
    gc.disable()
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(count):
        call()
    worked, took = time.process_time() - worked, time.perf_counter() - began
    gc.enable()
    return took / count * 1e6, worked / count * 1e6


async def timed_async(count, call):
    gc.collect()
    gc.disable()
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(count):
        await call()
    worked, took = time.process_time() - worked, time.perf_counter() - began
    gc.enable()
    return took / count * 1e6, worked / count * 1e6


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
    began, worked = time.perf_counter(), time.process_time()
    await made
    return count / (time.perf_counter() - began), (time.process_time() - worked) / count * 1e6


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
    began, worked = time.perf_counter(), time.process_time()
    for thread in running:
        thread.join()
    made = each * threads
    return made / (time.perf_counter() - began), (time.process_time() - worked) / made * 1e6

"""What all workers have counted, in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from operator import add
from pathlib import Path
from time import time

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from .metrics import COUNTERS, GAUGES, HISTOGRAMS, SECONDS, Ended
from .shared_counts import Key, added_up, pids


def exposition(directory: Path) -> bytes:
    """What the processes that count in a directory have counted, those that were killed included."""
    registry = CollectorRegistry()
    registry.register(_Counts(directory))
    registry.register(_Processes(directory))
    return generate_latest(registry)


class _Counts:
    """Adds up what the workers have counted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        found: dict[Key, list[float]] = {}
        for key, numbers, lives in added_up(self._directory):
            if lives or key[0] not in GAUGES:
                for name, values in _told(key, numbers):
                    found[name] = list(map(add, found.get(name, [0.0] * len(values)), values))
        yield from _families(found)


def _told(key: Key, numbers: Sequence[float]) -> Iterator[tuple[Key, Sequence[float]]]:
    """The families that a process's numbers belong to, each with what it is told."""
    if key[0] == "oo_calls":
        ended, route = Ended.of(numbers), key[1]
        yield key, [ended.calls]
        yield ("oo_call_head_seconds", route), ended.head
        yield ("oo_call_seconds", route), ended.whole
        yield ("oo_sent_bytes", route), [ended.sent]
        yield ("oo_received_bytes", route), [ended.received]
    elif key[0] == "oo_upstream_rests":
        yield key, [float(numbers[0] > time())]  # until when is what is kept
    else:
        yield key, numbers


def _families(found: dict[Key, list[float]]) -> Iterator[Metric]:
    for name, (about, labels) in COUNTERS.items():
        counter = CounterMetricFamily(name, about, labels=labels)
        for key in _of(found, name):
            counter.add_metric(key[1:], found[key][0])
        if not labels and not counter.samples:
            counter.add_metric((), 0)
        yield counter
    for name, (about, labels) in GAUGES.items():
        gauge = GaugeMetricFamily(name, about, labels=labels)
        for key in _of(found, name):
            gauge.add_metric(key[1:], found[key][0])
        yield gauge
    bounds = [*map(str, SECONDS), "+Inf"]
    for name, (about, labels) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, about, labels=labels)
        for key in _of(found, name):
            *buckets, seconds = found[key]
            histogram.add_metric(key[1:], list(zip(bounds, accumulate(buckets), strict=True)), seconds)
        yield histogram


def _of(found: dict[Key, list[float]], name: str) -> list[Key]:
    return sorted(key for key in found if key[0] == name)


class _Processes:
    """The figures of each worker that runs: memory, processor, files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        found: dict[str, Metric] = {}
        for pid in pids(self._directory):
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                whole = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    whole.add_sample(sample.name, {**sample.labels, "pid": str(pid)}, sample.value)
        yield from found.values()

"""The rules: what is measured, in which processes, and in which format."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, cast

import anyio
import msgspec
import structlog

from kernel.public import HOOKS, POOL, VERSION, HookBus, Measure, ServiceKey, Services, failure

from . import hookspecs
from .config import MetricsConfig
from .library import (
    OPEN,
    PLAIN,
    Collector,
    CollectorRegistry,
    Metric,
    PlatformCollector,
    ProcessCollector,
    open_text,
    plain_text,
)
from .models import Family, Kind, Sample, Snapshot
from .processes import Processes

LIMIT: Final = 2.0
"""Seconds that one plugin may take to measure itself."""
MAX_MEASURES: Final = 1000
"""Numbers that one plugin may give."""
MISSES: Final = 3
"""Writes that a process may miss before it counts as ended."""
PROCESS: Final = "process"

_NAME: Final = re.compile(r"caudex_[a-z0-9_]{1,100}")
_LABEL: Final = re.compile(r"[a-z][a-z0-9_]{0,50}")

log = structlog.get_logger("caudex.metrics")


class MetricsService:
    """Measures this process, and answers for its siblings too.

    Every number has the label `process`, but for those of the whole deployment.
    """

    def __init__(
        self, config: MetricsConfig, registry: CollectorRegistry, services: Services, folder: Path
    ) -> None:
        self._config = config
        self._registry = registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._bus = services.get(HOOKS)
        self._pool = services.get(POOL)
        self._processes = Processes(folder, MISSES * config.every + LIMIT)
        self._lock = anyio.Lock()
        self._measures: list[Measure] = []
        self._measured = float("-inf")

    def opens(self, token: str) -> bool:
        """Whether a bearer token is the scraper's."""
        expected = self._config.token
        return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())

    async def share(self) -> None:
        """Write the numbers of this process for the others on this machine."""
        snapshot, _ = await self._snapshot()
        await self._processes.write(snapshot)

    def leave(self) -> None:
        self._processes.leave()

    async def page(self, *, open_metrics: bool) -> tuple[bytes, str]:
        """Everything, in Prometheus' text or as OpenMetrics, and the media type."""
        snapshot, shared = await self._snapshot()
        snapshots = [snapshot, *await self._processes.read_siblings()]
        collector = cast("Collector", _Merged(snapshots, shared))
        if open_metrics:
            return open_text(collector), OPEN
        return plain_text(collector), PLAIN

    async def _snapshot(self) -> tuple[Snapshot, list[Family]]:
        """Return the numbers of this process, and those of the whole deployment."""
        measures = await self._fresh_measures()
        info = Sample("caudex_info", {"version": VERSION}, 1)
        families = [
            *_of_library(self._registry),
            *_of_hooks(self._bus),
            *_of_pool(self._pool.statistics()),
            *_of_measures(measure for measure in measures if not measure.shared),
            Family("caudex", "The server.", "info", [info]),
        ]
        shared = list(_of_measures(measure for measure in measures if measure.shared))
        snapshot = Snapshot(process=self._processes.name, at=time.time(), families=families)
        return snapshot, shared

    async def _fresh_measures(self) -> list[Measure]:
        """What the plugins measure of themselves, asked once for concurrent requests."""
        async with self._lock:
            if anyio.current_time() - self._measured >= self._config.every:
                self._measures = await self._ask()
                self._measured = anyio.current_time()
            return self._measures

    async def _ask(self) -> list[Measure]:
        measures: list[Measure] = []
        for implementation in self._bus.implementations(hookspecs.measure):
            try:
                with anyio.fail_after(LIMIT):
                    answer: Iterable[Measure] = await implementation.call({})
                measures += [_check(measure) for measure in islice(answer, MAX_MEASURES)]
            except Exception as error:  # whatever one does wrong, the others are measured
                plugin = implementation.plugin
                log.warning("a plugin is not measured", plugin=plugin, **failure(error))
        return measures


class _Merged:
    """A collector of families: those of one name are one, with a label for each process."""

    def __init__(self, snapshots: Iterable[Snapshot], shared: Iterable[Family]) -> None:
        self._metrics: dict[tuple[str, str], Metric] = {}
        for snapshot in snapshots:
            for family in snapshot.families:
                self._add(family, {PROCESS: snapshot.process})
        for family in shared:
            self._add(family, {})

    def _add(self, family: Family, labels: Mapping[str, str]) -> None:
        key = family.name, family.kind
        metric = self._metrics.get(key)
        if metric is None:
            metric = Metric(family.name, family.help, family.kind)
            self._metrics[key] = metric
        for sample in family.samples:
            metric.add_sample(sample.name, {**sample.labels, **labels}, sample.value)

    def collect(self) -> Iterable[Metric]:
        """For the library."""
        return self._metrics.values()


def _check(measure: Measure) -> Measure:
    """A measure whose types and names are right. Raises ValueError, msgspec.ValidationError."""
    checked = msgspec.convert(msgspec.structs.asdict(measure), Measure)
    if not _NAME.fullmatch(checked.name):
        raise ValueError(f"{checked.name!r} is not caudex_<plugin>_<what>")
    for label in checked.labels:
        if label == PROCESS or not _LABEL.fullmatch(label):
            raise ValueError(f"{checked.name}: {label!r} is no name for a label")
    return checked


def _of_library(registry: CollectorRegistry) -> Iterable[Family]:
    for metric in registry.collect():
        samples = [
            Sample(sample.name, sample.labels, sample.value)
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ]
        yield Family(metric.name, metric.documentation, cast("Kind", metric.type), samples)


def _of_measures(measures: Iterable[Measure]) -> Iterable[Family]:
    families: dict[tuple[str, str], Family] = {}
    for measure in measures:
        key = measure.name, measure.kind
        family = families.setdefault(key, Family(measure.name, measure.help, measure.kind, []))
        name = measure.name
        if measure.kind == "counter":
            name = f"{name}_total"
        family.samples.append(Sample(name, measure.labels, measure.value))
    return families.values()


def _of_hooks(bus: HookBus) -> Iterable[Family]:
    """Calls of hooks, those that failed, and those that were refusals, such as a 403."""
    calls = _counter("caudex_hook_calls", "Calls of hooks.")
    errors = _counter("caudex_hook_errors", "Calls that failed.")
    refusals = _counter(
        "caudex_hook_refusals", "Calls that ended in a refusal, such as 401 or 403."
    )
    seconds = _counter("caudex_hook_seconds", "Seconds that calls took.")
    for implementation in bus.all_implementations():
        labels = {"plugin": implementation.plugin, "hook": implementation.hook}
        statistics = implementation.statistics
        _add_to_counter(calls, labels, statistics.calls)
        _add_to_counter(errors, labels, statistics.errors)
        _add_to_counter(refusals, labels, statistics.refusals)
        _add_to_counter(seconds, labels, statistics.seconds)
    return calls, errors, refusals, seconds


def _counter(name: str, description: str) -> Family:
    return Family(name, description, "counter", [])


def _add_to_counter(family: Family, labels: dict[str, str], value: float) -> None:
    family.samples.append(Sample(f"{family.name}_total", labels, value))


def _of_pool(statistics: Mapping[str, int]) -> Iterable[Family]:
    get = statistics.get
    idle = get("pool_available", 0)
    name = "caudex_pool_connections"
    states = [
        Sample(name, {"state": "idle"}, idle),
        Sample(name, {"state": "used"}, max(0, get("pool_size", 0) - idle)),
    ]
    yield Family(name, "Connections of the pool.", "gauge", states)

    name = "caudex_pool_waiting"
    waiting = Sample(name, {}, get("requests_waiting", 0))
    yield Family(name, "Requests that wait for a connection.", "gauge", [waiting])

    for name, description, value in (
        ("caudex_pool_requests", "Connections that were asked for.", get("requests_num", 0)),
        ("caudex_pool_waits", "Those that had to wait.", get("requests_queued", 0)),
        ("caudex_pool_wait_seconds", "Seconds waited.", get("requests_wait_ms", 0) / 1000),
        ("caudex_pool_timeouts", "Those that waited in vain.", get("requests_errors", 0)),
        ("caudex_pool_lost", "Connections that were lost.", get("connections_lost", 0)),
    ):
        family = _counter(name, description)
        _add_to_counter(family, {}, value)
        yield family


SERVICE = ServiceKey[MetricsService]("metrics")

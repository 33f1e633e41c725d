"""The names of prometheus_client that are used; its global registry is not."""

from __future__ import annotations

from typing import cast

from kernel.public import BootError

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        PlatformCollector,
        ProcessCollector,
    )
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as PLAIN
    from prometheus_client.exposition import generate_latest as plain_text
    from prometheus_client.metrics_core import Metric
    from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPEN
    from prometheus_client.openmetrics.exposition import generate_latest as _open_text  # pyright: ignore[reportUnknownVariableType]
    from prometheus_client.registry import Collector
except ImportError as error:
    raise BootError(
        "plugin metrics",
        "the package prometheus-client is not installed",
        "pip install 'prometheus-client>=0.22'",
    ) from error


def open_text(registry: Collector) -> bytes:
    """Write everything down as OpenMetrics."""
    return cast("bytes", _open_text(registry))


__all__ = [
    "OPEN", "PLAIN", "Collector", "CollectorRegistry", "Counter", "Gauge", "Histogram", "Metric",
    "PlatformCollector", "ProcessCollector", "open_text", "plain_text",
]  # fmt: skip

"""Throughput as a chart: how many times ours goes through for one time of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .figures import Ratio

WIDTH, LABELS, BAR, GAP, TOP = 920, 390, 13, 8, 46
COLORS = ("#2a6f97", "#e07a5f", "#81b29a", "#8d6a9f", "#c9a227", "#6c757d")


def svg(ratios: Sequence[Ratio], caption: str) -> str:
    """Draw bars on a logarithmic scale from the line of 1: to the right where ours is faster."""
    shown = [ratio for ratio in ratios if ratio.rate]
    others = list(dict.fromkeys(ratio.against for ratio in shown))
    low, high = _scale([ratio.rate or 1.0 for ratio in shown])
    parts: list[str] = []
    y, last = TOP, ""
    for one in shown:
        name = f"{one.case}, {one.ours}" if one.ours.startswith("caudex (") else one.case
        y += GAP if name != last else 0
        parts.append(_bar(one, y, name if name != last else "", others, low, high))
        y, last = y + BAR + 2, name
    height = y + 24 + 16 * len(others)
    size = f'viewBox="0 0 {WIDTH} {height}"'
    font = 'font-family="system-ui, sans-serif" font-size="11"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {font}>',
        f"<title>{escape(caption)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="18" font-size="12">{escape(caption)}</text>',
        *_axis(low, high, y),
        *parts,
        *_legend(others, y + 16),
        "</svg>\n",
    ])  # fmt: skip


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """The decades that hold all values, and 1."""
    low = math.floor(math.log10(min([1.0, *values])))
    high = math.ceil(math.log10(max([1.0, *values])))
    return float(low), float(max(high, low + 1))


def _x(value: float, low: float, high: float) -> float:
    return LABELS + (math.log10(value) - low) / (high - low) * (WIDTH - LABELS - 70)


def _bar(one: Ratio, y: float, name: str, others: Sequence[str], low: float, high: float) -> str:
    value = one.rate or 1.0
    start, end = sorted((_x(1, low, high), _x(value, low, high)))
    color = COLORS[others.index(one.against) % len(COLORS)]
    said = f"{value:.0f}" if value >= 20 else f"{value:.2f}"
    return (
        f'<text x="{LABELS - 8}" y="{y + 10}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{start:.1f}" y="{y}" width="{max(1.0, end - start):.1f}" height="{BAR}"'
        f' fill="{color}"><title>{escape(f"{one.case} against {one.against}: {said}")}</title>'
        f'</rect><text x="{end + 4:.1f}" y="{y + 10}">{said}</text>'
    )


def _axis(low: float, high: float, bottom: float) -> list[str]:
    found: list[str] = []
    for decade in range(int(low), int(high) + 1):
        x, value = _x(10.0**decade, low, high), 10.0**decade
        color = "#333" if decade == 0 else "#ddd"
        found.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{color}"/>')
        found.append(f'<text x="{x:.1f}" y="{TOP - 8}" text-anchor="middle">{value:g} x</text>')
    return found


def _legend(others: Sequence[str], y: float) -> list[str]:
    found: list[str] = []
    for number, other in enumerate(others):
        row, color = y + 16 * number, COLORS[number % len(COLORS)]
        found.append(f'<rect x="{LABELS}" y="{row}" width="10" height="10" fill="{color}"/>')
        found.append(f'<text x="{LABELS + 16}" y="{row + 9}">against {escape(other)}</text>')
    return found

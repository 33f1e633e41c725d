"""The state of a view: text by the names that the address of a table's page has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

import msgspec

from kernel.public import BadRequest

from .shapes import COUNT, DeclaredView, Figure, Layout, Operator, Period, Selection

LAYOUTS: Final = get_args(Layout)
OPERATORS: Final = get_args(Operator)
PERIODS: Final = get_args(Period)


def read_text(state: Mapping[str, Any], name: str) -> str:
    """Return a member of a state; an absent one is empty. Raises BadRequest."""
    value = state.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest(f"view: {name} is no text")
    return value


def read_order(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields that a state sorts by, each with its direction. Raises BadRequest.

    Groups come first, in the order of their field. Where the state names no field, the list is
    empty, and within groups the newest record comes first.
    """
    names = [name for name in read_text(state, "sort").split(",") if name]
    orders = read_text(state, "order").split(",")
    orders += [""] * len(names)
    terms = dict(zip(names, orders, strict=False))
    group = read_text(state, "group")
    if group:
        terms = {group: terms.get(group) or "asc"} | (terms or {"created_at": "desc"})
    return [(name, order or "desc") for name, order in terms.items()]


def write_state(view: DeclaredView) -> dict[str, str]:
    """Return the state of a view that a manifest declares."""
    members = {
        "q": view.search,
        "sort": view.order_by or "",
        "order": "" if view.order_by is None else view.order,
        "columns": ",".join(view.columns),
        "layout": view.layout,
        "by": view.by or "",
        "period": view.period or "",
        "figure": _write_figure(view.figure),
        "chart": view.chart,
    }
    if view.where:
        members["where"] = msgspec.json.encode(view.where).decode()
    if view.layout == "table":
        del members["layout"]
    if view.layout != "chart":
        del members["chart"]
    return {name: text for name, text in members.items() if text}


def _write_figure(figure: Figure | None) -> str:
    """Write a figure as `value.sum`, as `figures` of a table have it."""
    for operator, name in (figure or {}).items():
        if name != "*":
            return f"{name}.{operator.removeprefix('$')}"
    return ""


def read_layout(state: Mapping[str, Any]) -> Layout:
    """Return the layout of a state. Raises BadRequest."""
    layout = read_text(state, "layout") or "table"
    if layout not in LAYOUTS:
        raise BadRequest(f"state.layout: {layout[:80]!r} is not one of {', '.join(LAYOUTS)}")
    return cast("Layout", layout)


def read_selection(state: Mapping[str, Any]) -> Selection:
    """Return what a state says of fields, to check it. Raises BadRequest."""
    period = read_text(state, "period")
    if period and period not in PERIODS:
        raise BadRequest(f"state.period: {period[:80]!r} is not one of {', '.join(PERIODS)}")
    columns = [name for name in read_text(state, "columns").split(",") if name]
    return Selection(
        columns=tuple(columns),
        by=read_text(state, "by") or None,
        period=cast("Period", period) if period else None,
        figure=_read_figure(read_text(state, "figure")),
    )


def _read_figure(text: str) -> Figure:
    if not text:
        return {COUNT: "*"}
    name, _, kind = text.rpartition(".")
    operator = f"${kind}"
    if not name or operator not in OPERATORS:
        kinds = ", ".join(name.removeprefix("$") for name in OPERATORS)
        raise BadRequest(f"state.figure: {text[:80]!r} is no FIELD.KIND, with one of {kinds}")
    return {cast("Operator", operator): name}

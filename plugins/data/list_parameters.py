"""The query parameters of lists and records, read into what RECORDS is asked for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, Literal, cast
from urllib.parse import quote, urlencode

import msgspec

from kernel.public import MAX_PAGE, Page, View, one_of, read_limit, whole_number

from .handlers import read_flag
from .models import PARAMETERS, VIEW_PARAMETERS
from .reads.record_reader import EVERYTHING

Order = Literal["asc", "desc"]
ReplyFormat = Literal["csv", "ndjson", "json"]

MAY_HAVE_VIEW: Final = re.compile("|".join(["%", *VIEW_PARAMETERS]).encode())
"""Finds query strings that may have parameters of a view; `%` can write any name."""


class Listing(msgspec.Struct, frozen=True):
    """Parameters of a list, which is `complete` without a limit.

    `query` are the parameters that a link to the next page repeats.
    """

    page: Page
    complete: bool
    query: str
    raw: bool = False
    file_format: ReplyFormat | None = None


def read_listing(parameters: Mapping[str, str], view_parameters: Collection[str]) -> Listing:
    """Read the parameters of a list; any other name is a field and the value it must have."""
    filters: dict[str, str] = {}
    repeated: dict[str, str] = {}
    for name, text in parameters.items():
        is_parameter = name in PARAMETERS and name not in VIEW_PARAMETERS
        if not is_parameter and name not in view_parameters:
            filters[name] = text
        if name not in ("offset", "after"):
            repeated[name] = text

    offset = 0
    if "offset" in parameters:
        offset = whole_number("offset", parameters["offset"])
    order = one_of("order", parameters.get("order", "desc").lower(), ("asc", "desc"))
    view = read_view(parameters, view_parameters)
    page = Page(
        where=filters or None,
        order_by=parameters.get("sort"),
        order=cast("Order", order),
        limit=read_limit(parameters.get("limit"), MAX_PAGE),
        offset=offset,
        after=parameters.get("after"),
        view=None if view == EVERYTHING else view,
    )
    return Listing(
        page,
        complete="limit" not in parameters,
        query=urlencode(repeated, quote_via=quote),
        raw="raw" in view_parameters and read_flag(parameters, "raw"),
        file_format=read_format(parameters) if "format" in view_parameters else None,
    )


def read_view(parameters: Mapping[str, str], view_parameters: Collection[str]) -> View:
    """Read what a list or a record shows from its parameters."""
    lists = {
        name: parameters[name].split(",")
        for name in ("fields", "expand")
        if name in view_parameters and name in parameters
    }
    return View(
        fields=lists.get("fields"),
        expand=lists.get("expand", ()),
        etag="etag" in view_parameters and read_flag(parameters, "etag"),
    )


def read_format(parameters: Mapping[str, str]) -> ReplyFormat | None:
    """Read the parameter `format`. Raises BadRequest."""
    if "format" not in parameters:
        return None
    return cast("ReplyFormat", one_of("format", parameters["format"], ("csv", "ndjson", "json")))

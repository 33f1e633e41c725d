"""Every number of the configuration has a least and a largest value, and says so."""

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from docs.pages.code import plugin_classes
from kernel.config.convert import convert
from kernel.config.settings import SECTIONS, Section
from kernel.public import BootError


def numbers() -> Iterator[tuple[str, type[Section], dict[str, Any]]]:
    """The key, the Struct and the JSON Schema of each."""
    of_plugins = [plugin.Config for plugin in plugin_classes()]
    for config in [*SECTIONS.values(), *of_plugins]:
        if issubclass(config, Section):
            schema = msgspec.json.schema(config)["$defs"][config.__name__]
            for key, found in schema["properties"].items():
                if found.get("type") in ("integer", "number"):
                    yield key, config, found


def required_values(config: type[Section]) -> dict[str, str]:
    """Return a text for each setting without a default."""
    schema = msgspec.json.schema(config)["$defs"][config.__name__]
    return dict.fromkeys(schema.get("required", ()), "text")


FOUND = [pytest.param(*found, id=f"{found[1].__name__}-{found[0]}") for found in numbers()]


@pytest.mark.parametrize(("key", "config", "schema"), FOUND)
def test_a_number_has_bounds_and_is_refused_beyond_them_in_one_line(
    key: str, config: type[Section], schema: dict[str, Any]
) -> None:
    low, high = schema["minimum"], schema["maximum"]
    assert low <= schema["default"] <= high
    beyond = ("inf", "nan", math.inf, math.nan) if schema["type"] == "number" else ()
    others = required_values(config)
    for wrong in (low - 1, high + 1, str(low - 1), *beyond):
        with pytest.raises(BootError) as error:
            convert({**others, key: wrong}, config, "[plugins.x]", {})
        reported = rf"\[plugins\.x\]: {key}: expected (int|float) [<>]= [0-9.]+"
        assert re.fullmatch(reported, str(error.value))
    for right in (low, high, str(low)):
        assert getattr(convert({**others, key: right}, config, "", {}), key) == float(right)

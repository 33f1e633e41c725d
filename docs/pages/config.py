"""The page of the configuration."""

from __future__ import annotations

from typing import Any

import msgspec

from docs.pages.code import attribute_docs, doc, plugin_classes, readme_rows, table
from kernel.config.settings import PREFIX, SEARCH, SECTIONS, SPECIAL
from kernel.hooks.plugin import NoConfig, Plugin
from kernel.loading.kernel import Kernel

FILES = ", ".join(f"`{path}`" for path in SEARCH)
FILE, DATA_DIR, TOKEN, URL = (f"`{name}`" for name in SPECIAL)
HEAD = f"""# Configuration

Values come from one TOML file. The environment overrides the file, and the command line overrides
both. `--config` or {FILE} names the file, which must exist. Otherwise it is the first that exists
of {FILES}. `caudex init` writes a file with comments. `caudex config check`
reads it without starting anything. An unknown key or variable stops the start; the error names the
nearest known one.

Each key has a variable: `{PREFIX}<SECTION>__<KEY>`, for a plugin
`{PREFIX}PLUGINS__<NAME>__<KEY>`. Write lists and tables as JSON. A variable that ends in `_FILE`
names a file with the value; if both are set, the file's value is used. Further variables are
{FILE}, {DATA_DIR} (for `[server] data_dir`), {TOKEN} (the access token or API key that
commands send), {URL} (the server that commands for authors use), and `DATABASE_URL`, which
fills an empty `[database] url`.
"""
LOADER = (
    ("`enabled`", "`true`", "`false` switches the plugin off"),
    ("`module`", "", "where the plugin is found: `package.module` or `package.module:Class`"),
    (
        "`on_failure`",
        '`"stop"`',
        '`"degrade"`: start without it when it fails and no plugin needs it',
    ),
)
PLUGINS = """## `[services]`

Selects a provider where several plugins provide a service: `<service> = "<plugin>"`. See
[services](services.md).

## `[plugins.<name>]`

Built-in plugins are on without a table; other plugins are on if they have one. Every table accepts
three keys of the loader:
"""


def page(_: Kernel) -> str:
    """The sections of the kernel, then the table of each plugin."""
    parts = [HEAD]
    for name, struct in SECTIONS.items():
        parts += [f"## `[{name}]`", doc(struct), _keys(struct, attribute_docs(struct))]
    parts += [PLUGINS, table(("key", "default", "meaning"), LOADER)]
    for plugin in sorted(plugin_classes(), key=lambda cls: cls.name):
        parts.append(f"### `[plugins.{plugin.name}]`")
        parts += ["No keys of its own."] if plugin.Config is NoConfig else _plugin(plugin)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _plugin(plugin: type[Plugin]) -> list[str]:
    meanings = readme_rows(plugin) | attribute_docs(plugin.Config)
    return [doc(plugin.Config), _keys(plugin.Config, meanings)]


def _keys(struct: type[msgspec.Struct], meanings: dict[str, str]) -> str:
    rows = [
        (f"`{field.encode_name}`", _type(struct, field.name), _default(field),
         meanings.get(field.encode_name, "").replace("\n", " "))
        for field in msgspec.structs.fields(struct)
    ]  # fmt: skip
    return table(("key", "type", "default", "meaning"), rows)


def _type(struct: type[msgspec.Struct], name: str) -> str:
    """The type in the words of TOML."""
    schema = msgspec.json.schema(struct)
    properties = schema["$defs"][struct.__name__]["properties"]
    return _words(properties[name], schema)


def _words(schema: dict[str, Any], root: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _words(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return " or ".join(repr(value).replace("'", '"') for value in sorted(schema["enum"]))
    if "anyOf" in schema:
        parts = [part for part in schema["anyOf"] if part != {"type": "null"}]
        return " or ".join(_words(part, root) for part in parts)
    match schema.get("type"):
        case "array":
            return f"list of {_words(schema.get('items', {}), root)}"
        case "object":
            return "table"
        case "string":
            return "text"
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _bounds(schema)
        case other:
            return str(other or "any")


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return "" if low is None else f", at least {low}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "needed"
    made = field.default_factory is not msgspec.NODEFAULT
    value: Any = field.default_factory() if made else field.default  # type: ignore[operator]
    if value is None:
        return ""
    return f"`{msgspec.json.encode(value).decode()}`"

"""The plugins of a default deployment."""

SAFE = {
    "system": {"safe": True},
    "postgres": {},
    "http_server": {},
    "notifications": {},
    "rbac": {},
    "auth": {"registration": "closed"},
    "console": {"safe": True},
}
"""Those of `caudex serve --safe`, with settings that it lays over the configured ones."""

PREFERRED = {"statements": "pipeline"}
"""Plugins that replace the kernel's own provider while they are on, unless `[services]` selects."""

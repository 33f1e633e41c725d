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
"""Who takes the place of the kernel's own offer while on, unless the operator chooses."""

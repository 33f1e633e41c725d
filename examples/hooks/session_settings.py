"""Passes the actor to PostgreSQL: for triggers, defaults and row-level security."""

from collections.abc import Mapping

from caudex import Actor, Plugin, hookimpl


class SessionSettingsPlugin(Plugin):
    """Read in SQL with `current_setting('shop.clerk', true)`."""

    name = "session_settings"

    @hookimpl
    def session_settings(self, actor: Actor) -> Mapping[str, str]:
        """Called for every write: from memory, without waiting for anything."""
        return {"shop.clerk": actor.username}

"""Gives workers a variable of their environment."""

from collections.abc import Mapping

from caudex import Plugin, hookimpl


class WorkerEnvironmentPlugin(Plugin):
    """The greeting of the house, for every app's code."""

    name = "worker_environment"

    @hookimpl
    async def worker_environment(self, app_id: str) -> Mapping[str, str]:
        """Asked when a worker starts; a later plugin's value wins."""
        return {"GREETING": f"Welcome to the {app_id}"}

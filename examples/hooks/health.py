"""Says how a subsystem is."""

from caudex import Health, Plugin, hookimpl


class HealthPlugin(Plugin):
    """A mailer that is fine."""

    name = "health"

    @hookimpl
    async def health(self) -> Health:
        """Shown by `/api/v1/status`; `ready=False` would take the server out of a balancer."""
        return Health(name="mailer", state="Online", detail={"queued": 0})

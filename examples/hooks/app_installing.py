"""Refuses apps that do not say who looks after them."""

from caudex import BadRequest, InstallPlan, Plugin, Transaction, hookimpl


class AppInstallingPlugin(Plugin):
    """A rule of the house, for installs and updates alike."""

    name = "app_installing"

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """The tables exist in this transaction; an exception rolls everything back."""
        if plan.app.name.lower().startswith("test"):
            raise BadRequest("name: an app is not called a test here")

"""Keeps apps that others rely on."""

from caudex import App, BadRequest, Plugin, Section, Transaction, hookimpl


class KeepConfig(Section, frozen=True, kw_only=True):
    """`[plugins.app_removing]`: which apps stay."""

    keep: tuple[str, ...] = ("shop",)


class AppRemovingPlugin(Plugin):
    """Guards the apps of its list."""

    name = "app_removing"
    Config = KeepConfig
    config: KeepConfig

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """The tables are still there; a plugin with rows about the app deletes them here."""
        if app.id in self.config.keep:
            raise BadRequest(f"the app {app.id!r} stays: others rely on it")

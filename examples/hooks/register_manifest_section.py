"""Understands `reminders` in manifests."""

from typing import Any

from caudex import InstallPlan, ManifestSection, Plugin, Transaction, hookimpl

SCHEMA = {"type": "array", "maxItems": 20, "items": {"type": "string", "maxLength": 200}}


class RegisterManifestSectionPlugin(Plugin):
    """Keeps what each app wants to be reminded of."""

    name = "register_manifest_section"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.reminders: dict[str, list[str]] = {}

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Without this the section would be reported as ignored."""
        return ManifestSection("reminders", SCHEMA)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """A real one writes them to a table, in the transaction of the install."""
        self.reminders[plan.app.id] = list(plan.section("reminders") or ())

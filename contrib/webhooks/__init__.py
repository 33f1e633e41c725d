"""Webhooks: changes of records are sent to receivers, signed, in order, and again until taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    APP_ADMIN,
    APPS,
    CHANGES,
    LOOPBACK_NETWORKS,
    NOTIFICATIONS,
    STATEMENTS,
    VAULT,
    WATCHES,
    AddressRules,
    ConsolePage,
    Health,
    InstallPlan,
    ManifestSection,
    Measure,
    Plugin,
    Provider,
    Route,
    Services,
    Statements,
    Transaction,
    hookimpl,
    provide,
)

from . import store
from .config import WebhooksConfig
from .declared import section
from .declared.renames import follow
from .deliveries.deliverer import Deliverer
from .deliveries.sender import Sender
from .routes import WebhookRoutes
from .service import SERVICE, WebhooksService
from .signing import TOPIC, Endpoints

FAILING_SECONDS = 3600.0
"""How long a webhook may fail before health warns."""


class WebhooksPlugin(Plugin):
    """Sends changes of records to receivers that apps name."""

    name = "webhooks"
    requires = (STATEMENTS, NOTIFICATIONS, APPS, VAULT, CHANGES, WATCHES)
    Config = WebhooksConfig
    config: WebhooksConfig
    _services: Services
    _endpoints: Endpoints
    _sender: Sender
    _statements: Statements | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        return [provide(SERVICE, self._make)]

    def _make(self, services: Services) -> WebhooksService:
        allow = self.config.allow
        if not self.context.public:  # a receiver beside the server, as while one writes it
            allow = (*LOOPBACK_NETWORKS, *allow)
        self._sender = Sender(AddressRules(allow))
        self._endpoints = Endpoints(services)
        return WebhooksService(self.config, services, self._endpoints, self._sender)

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        self._services = services
        return WebhookRoutes(services).routes()

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Declare the section, and find the problems that its schema cannot express."""
        return ManifestSection(section.KEY, section.SCHEMA, section.problems)

    @hookimpl(optionalhook=True)
    def register_pages(self) -> Sequence[ConsolePage]:
        """Show webhooks and their deliveries in the console."""
        return [ConsolePage("Webhooks", icon="link", needs=APP_ADMIN, module="webhooks.js")]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Read the sections of installed apps, then deliver while the server runs."""
        service = services.get(SERVICE)
        await service.declarations.catch_up()
        self._statements = services.get(STATEMENTS)
        deliverer = Deliverer(services, self._endpoints, self._sender)
        services.get(NOTIFICATIONS).subscribe(TOPIC, deliverer.on_notification)
        self.tasks.start(deliverer.run, "deliver", leader=True)
        self.tasks.every(600, service.sweep, "sweep", leader=True)
        yield

    @hookimpl
    async def app_planning(self, plan: InstallPlan) -> None:
        """Refuse webhooks that a manifest must not declare."""
        declared = section.read(plan.section(section.KEY))
        await self._services.get(SERVICE).declarations.check(plan.app, declared)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Follow names that change, then store the webhooks that a manifest declares."""
        if plan.renamed:
            await follow(tx, plan)
        declared = section.read(plan.section(section.KEY))
        declarations = self._services.get(SERVICE).declarations
        await declarations.apply(tx, plan.app.id, plan.app.version_stamp, declared)

    @hookimpl
    async def health(self) -> Health:
        """Warn of webhooks that have failed for an hour."""
        if self._statements is None:
            return Health(name=self.name)
        failing = await store.list_failing(self._statements, FAILING_SECONDS)
        if not failing:
            return Health(name=self.name)
        problem = f"webhooks that have failed for an hour: {len(failing)}"
        return Health(name=self.name, detail={"failing": failing}, problems=(problem,))

    @hookimpl(optionalhook=True)
    async def measure(self) -> Sequence[Measure]:
        """Count webhooks and waiting deliveries of the deployment."""
        if self._statements is None:
            return []
        counts = await store.read_counts(self._statements)
        return [
            _measure("caudex_webhooks_hooks", "Webhooks.", counts, "enabled"),
            _measure("caudex_webhooks_hooks", "Webhooks.", counts, "disabled"),
            _measure("caudex_webhooks_hooks", "Webhooks.", counts, "failing"),
            _measure("caudex_webhooks_deliveries", "Deliveries that wait.", counts, "pending"),
        ]


def _measure(name: str, text: str, counts: dict[str, int], state: str) -> Measure:
    labels = {"state": state}
    return Measure(
        name=name, help=text, kind="gauge", value=counts[state], labels=labels, shared=True
    )

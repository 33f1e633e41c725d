"""Keeps a view of an app's table, which PostgreSQL would not let the table change under."""

from caudex import InstallPlan, Plugin, Transaction, hookimpl

VIEW = b"create or replace view public.all_orders as select title, total from shop.orders"


class AppChangingPlugin(Plugin):
    """Has a view of all orders for the operator's own reports."""

    name = "app_changing"

    @hookimpl
    async def app_changing(self, tx: Transaction, app_id: str) -> None:
        """Drop the view: a column of it cannot get another type."""
        if app_id == "shop":
            await tx.script(b"drop view if exists public.all_orders")

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Make the view of the table as it is now."""
        if plan.app.id == "shop":
            await tx.script(VIEW)

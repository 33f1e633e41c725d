"""Refuses tables that are called temporary, in the plan already."""

from caudex import BadRequest, InstallPlan, Plugin, hookimpl


class AppPlanningPlugin(Plugin):
    """A rule of the house that an author sees before anything is installed."""

    name = "app_planning"

    @hookimpl
    async def app_planning(self, plan: InstallPlan) -> None:
        """Nothing is written here: a plan that is only shown gets here, too."""
        for entity in plan.app.entities.values():
            if entity.name.startswith("tmp"):
                raise BadRequest(f"{entity.name}: a table for a while is not part of an app here")

"""Adds a line to `caudex doctor`."""

import shutil

from caudex import Finding, Plugin, hookimpl

ENOUGH = 1_000_000


class DiagnosePlugin(Plugin):
    """Looks after the disk."""

    name = "diagnose"

    @hookimpl
    def diagnose(self) -> list[Finding]:
        """Nothing has been started; a remark that is not good says what to do."""
        folder = next(
            p for p in (self.context.data_dir, *self.context.data_dir.parents) if p.exists()
        )
        free = shutil.disk_usage(folder).free
        if free < ENOUGH:
            return [Finding(name="disk", text="almost full: free some space", state="warn")]
        return [Finding(name="disk", text=f"{free // 1_000_000} MB are free")]

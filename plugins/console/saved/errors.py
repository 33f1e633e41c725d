"""Why a view is not changed."""

from __future__ import annotations

from typing import ClassVar

from kernel.public import KernelError
from plugins.console.models import View


class ViewChanged(KernelError):
    """The view is another one than the caller has read; the reply has the present one."""

    status: ClassVar[int] = 412

    def __init__(self, view: View) -> None:
        super().__init__(f"the view '{view.name}' has changed since it was read")
        self.members = {"etag": f'"{view.version}"', "view": view}

"""Small pictures of images, made by Pillow in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from kernel.public import THUMBNAILS, BootError, Plugin, Provider, Services, hookimpl, provide

from .config import ThumbnailsConfig
from .service import ThumbnailService


class ThumbnailsPlugin(Plugin):
    """An engine for THUMBNAILS; the plugin `files` shows what it makes."""

    name = "thumbnails"
    Config = ThumbnailsConfig
    config: ThumbnailsConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide THUMBNAILS."""
        return [provide(THUMBNAILS, self._make)]

    def _make(self, _: Services) -> ThumbnailService:
        if find_spec("PIL") is None:  # the server itself never imports it
            raise BootError(
                "plugin thumbnails",
                "the package pillow is not installed",
                "pip install 'pillow>=12'",
            )
        return ThumbnailService(self.config)

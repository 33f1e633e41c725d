"""The files of the page: Swagger UI and our own. The page loads nothing from other servers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from kernel.public import BootError

from .models import Document, tag_of

_CSS: Final = "text/css; charset=utf-8"
_JS: Final = "text/javascript; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"
_OURS: Final = {"index.html": _HTML, "page.css": _CSS, "page.js": _JS}
_PACKAGED: Final = {"stylesheets/swagger-ui.css": _CSS, "javascripts/swagger-ui-bundle.js": _JS}
PACKAGE: Final = "mkdocs_swagger_ui_tag"
"""Only its copy of Swagger UI is used."""
PAGE: Final = "index.html"


def assets() -> Mapping[str, Document]:
    """Return every file by its name. Raises BootError when Swagger UI is missing."""
    documents: dict[str, Document] = {}
    try:
        package = files(PACKAGE) / "swagger-ui"
        for path, media_type in _PACKAGED.items():
            name = path.rpartition("/")[2]
            documents[name] = _asset(package.joinpath(path).read_bytes(), media_type)
    except (ModuleNotFoundError, FileNotFoundError):
        problem = "Swagger UI is not installed"
        remedy = "pip install 'mkdocs-swagger-ui-tag>=0.8.1', or set [plugins.openapi] page = false"
        raise BootError("plugin openapi", problem, remedy) from None
    folder = files(__package__ or "") / "page"
    for name, media_type in _OURS.items():
        documents[name] = _asset((folder / name).read_bytes(), media_type)
    return documents


def _asset(body: bytes, media_type: str) -> Document:
    return Document(body, tag_of(body), media_type)

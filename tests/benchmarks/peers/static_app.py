"""Files of a folder, sent by Starlette as its documentation shows it."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

app = Starlette(routes=[Mount("/", StaticFiles(directory=os.environ["PEER_FILES"], html=True))])

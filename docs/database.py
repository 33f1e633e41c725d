"""Write the pages that need a database: `schema.sql` of each plugin, and the statements.

`make docs` runs it; tests compare the pages.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from docs import schemas, statements
from kernel.config.settings import DatabaseConfig, load_config
from kernel.contracts.server import DATABASE_SERVER
from kernel.database.migrations import migrate
from kernel.loading.loader import load
from kernel.testing import Postgres


def make_pages() -> dict[Path, str]:
    """Start a PostgreSQL, and return what each page should say."""
    folder = Path(tempfile.mkdtemp(prefix="caudex-docs-"))
    folder.chmod(0o755)
    overrides = {"server.data_dir": str(folder), "plugins.postgres": {"port": 0, "ephemeral": True}}
    config = load_config(environ={}, overrides=overrides)
    server = load(config).services.build_early(DATABASE_SERVER)
    assert server is not None
    try:
        postgres = Postgres(server.start())
        url = postgres.create()
        asyncio.run(migrate(DatabaseConfig(url=url), schemas.migrations()))
        records = statements.recorded(postgres, folder / "postgres.log")
        postgres.close()
        return schemas.pages(url) | {statements.PAGE: statements.page(records)}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Write the pages."""
    for path, text in make_pages().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

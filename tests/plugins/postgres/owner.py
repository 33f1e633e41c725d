"""A process that owns an embedded server, for tests that kill it: `owner.py <json arguments>`.

Prints what it started as one line of JSON, then watches until its input ends.
"""

import json
import select
import sys

from plugins.postgres import EmbeddedPostgresError, EmbeddedServer, PostgresConfig


def main() -> None:
    arguments = json.loads(sys.argv[1])
    server = EmbeddedServer(arguments.pop("data_dir"), PostgresConfig(**arguments))
    try:
        started = server.start()
    except EmbeddedPostgresError as error:
        sys.exit(str(error))
    news = {
        "postmaster": server.pid,
        "port": started.plan.port,
        "account": started.plan.account.name,
    }
    print(json.dumps(news | {"dsn": server.dsn()}), flush=True)
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        server.watch()
    server.stop()


if __name__ == "__main__":
    main()

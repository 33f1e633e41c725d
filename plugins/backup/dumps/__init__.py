"""Dumps: what pg_dump writes, and pg_restore loads."""

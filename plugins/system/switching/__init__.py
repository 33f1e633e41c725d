"""Plugins that are switched off and on: records this in the database, and drops what is left."""

"""Plugins that are switched off and on: what the database is to know of it, and what is left."""

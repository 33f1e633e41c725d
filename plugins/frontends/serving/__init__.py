"""Serving: what a browser gets at the host of an app."""

"""Finds plugins, orders them and collects what they declare."""

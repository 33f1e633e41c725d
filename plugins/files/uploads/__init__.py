"""Uploads: what a file is called, what it is, and how it gets into the store."""

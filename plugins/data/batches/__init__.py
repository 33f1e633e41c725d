"""Batches: operations of several entities in one transaction."""

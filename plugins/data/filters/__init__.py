"""Filters: where-trees, and the conditions of statements that they become."""

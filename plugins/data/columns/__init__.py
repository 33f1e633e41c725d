"""The columns of an entity; every name comes from the stored manifest."""

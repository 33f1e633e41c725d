"""Files of apps, beyond what clients meet."""

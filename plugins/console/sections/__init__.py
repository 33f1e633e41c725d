"""The sections of manifests that the console reads."""

"""Apps that are proposed from files of rows."""

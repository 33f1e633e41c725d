"""The archive of the log, and the restore to a point in time."""

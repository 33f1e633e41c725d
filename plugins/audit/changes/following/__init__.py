"""One reading of the trail for all followers of a process."""

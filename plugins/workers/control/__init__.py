"""Which worker should run, and what runs in this server process."""

"""Where reads go: to the primary, to a replica, and together with others."""

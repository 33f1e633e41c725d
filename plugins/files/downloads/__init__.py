"""Downloads: who may read a file, signed links, and replies with content."""

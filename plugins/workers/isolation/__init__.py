"""What keeps workers from the server and from each other."""

"""What narrows the rights of a user: the limits of an API key."""

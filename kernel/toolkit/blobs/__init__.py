"""What providers and users of STORAGE share."""

"""What authors of plugins test with; loaded as a pytest plugin."""

"""Runs jobs in a server process: claims them, starts them, and stores their outcomes."""

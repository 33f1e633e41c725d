"""Recorded changes for those who put records back."""

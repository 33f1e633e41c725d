"""`make bench`: how fast the server is, in ratios that were taken side by side in one run."""

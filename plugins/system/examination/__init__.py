"""What `caudex doctor` looks at."""

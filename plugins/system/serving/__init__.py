"""What `caudex serve` does beside serving: `--reload`, `--safe`, and SIGHUP."""

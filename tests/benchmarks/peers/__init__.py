"""What Caudex is compared with: programs that run in `.bench/`, which `make bench` sets up."""

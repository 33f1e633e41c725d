"""Sessions and delegations: for how long, and at which door, a caller acts as an account."""

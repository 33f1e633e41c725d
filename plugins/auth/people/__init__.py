"""People: the own profile, and what admins see and do with the accounts of others."""

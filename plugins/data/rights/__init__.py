"""Who may reach which records: permissions, row scopes, linked rows, the limits of links."""

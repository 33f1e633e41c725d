"""What the console keeps for users: how it follows the apps, and views as queries."""

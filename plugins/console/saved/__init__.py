"""What the console keeps for users: here, how it follows the apps."""

"""Changes of a manifest in small steps, their plans, and the way back."""

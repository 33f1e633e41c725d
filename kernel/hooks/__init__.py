"""The hook bus, its specs, the plugin base class and the services."""

"""The hook bus, the plugin base class and the services."""

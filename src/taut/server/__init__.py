"""The HTTP API of a running taut."""

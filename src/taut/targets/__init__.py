"""What has a declared and an actual state."""

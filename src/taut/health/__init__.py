"""What the state of an object means."""

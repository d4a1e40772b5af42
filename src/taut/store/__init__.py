"""taut's own memory: what Git cannot hold. One SQLite file, a key file, and a cache that may be thrown away."""

"""Secrets: documents that hold encrypted values, or say where values are. Plain values live in memory only."""

"""SOPS files: read, written and verified in memory."""

"""External Secrets: documents in Git that say which values of a secret manager a Secret is made of."""

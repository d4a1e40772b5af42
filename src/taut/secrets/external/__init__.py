"""Documents of the External Secrets Operator (`external-secrets.io/v1`, `v1beta1`): read, and resolved to Secrets."""

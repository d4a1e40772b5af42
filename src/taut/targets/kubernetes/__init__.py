"""Kubernetes as a target."""

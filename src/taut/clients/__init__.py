"""Thin clients for what taut talks to."""

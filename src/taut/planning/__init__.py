"""Desired and live become a plan."""

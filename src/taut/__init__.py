"""taut keeps what runs taut to Git."""

__version__ = "0.1.0"

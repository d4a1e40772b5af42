"""Documents people write, parsed into the model."""

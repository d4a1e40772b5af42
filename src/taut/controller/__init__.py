"""The loop: it wires everything."""

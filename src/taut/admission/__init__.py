"""Admission: taut answers the API server's question whether an object may be written, and remembers who asked."""

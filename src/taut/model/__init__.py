"""The data that everything else shares: no behaviour beyond small derivations, no I/O."""

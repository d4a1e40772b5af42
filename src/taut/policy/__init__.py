"""Policies: documents that judge objects (validate) or complete them (mutate). Pure: what they may look up comes in as a `Lookup`."""

"""Rules for single kinds, one module a family; each exports `RULES` (API group → kind → rule)."""

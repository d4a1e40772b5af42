"""What Git cannot hold: inventories, operations, history, audit."""

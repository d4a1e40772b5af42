"""The page that people look at: rendered here, readable without JavaScript."""

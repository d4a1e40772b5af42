"""YAML as kubectl reads it, safely, with the line of every document; JSON and YAML out."""

"""The catalogue: YAML and records in, pages out. Nothing here imports torch."""

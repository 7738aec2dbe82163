"""The encrypted, deduplicated engine. Its format, byte by byte: docs/repository-format.md."""

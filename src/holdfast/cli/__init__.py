"""The command line: parses, calls one operation, shows what came of it, and ends with the right exit code."""

"""PostgreSQL as a service: captured from its data directory, put back as a data directory."""

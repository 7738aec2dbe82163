"""How one kind of service is captured and put back: one contract, one folder or file per kind."""

"""One file per use case: the recipe that the command line and the web page share. Only this room wires objects."""

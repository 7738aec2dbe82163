"""The ways of ``holdfast restore``, one module each: to a directory, in place, a part of a cluster."""

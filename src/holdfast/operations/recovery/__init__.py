"""The parts of a recovery to a target that ``operations.recovering`` puts together."""

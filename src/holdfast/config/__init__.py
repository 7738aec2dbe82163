"""The stack file: what it may say, where it is found, and what is wrong with it, with line and column.

Only ``operations``, ``cli`` and ``web`` read this room; below them, typed options are passed in.
"""

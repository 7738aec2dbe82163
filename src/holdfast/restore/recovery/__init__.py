"""Recovery to a target: chosen and proven before anything is written, judged by what the server says it reached."""

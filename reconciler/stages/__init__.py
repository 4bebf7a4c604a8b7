"""The line, one verb a file, in the order that `run.py` walks it."""

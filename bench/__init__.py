"""The numbers to reach, measured through the command line: `python -m bench`."""

"""What the line in `run.py` is made of, between the stages."""

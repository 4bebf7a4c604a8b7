"""What `stages/validate.py` asks, one question a file."""

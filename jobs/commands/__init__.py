"""What a person types: python -m jobs.commands.<name>."""

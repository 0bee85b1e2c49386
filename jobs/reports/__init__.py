"""Results in, HTML or a line for a person out."""

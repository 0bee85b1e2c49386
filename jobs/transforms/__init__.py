"""DataFrames in, DataFrames out: what several jobs share, or one is too long for. No storage."""

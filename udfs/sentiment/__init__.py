"""What customers write: sentences and clauses, a sentiment model that learns from stars alone, and aspects of items."""

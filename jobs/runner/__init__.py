"""How any job is run: session, tables, checks, pending days, records, exit codes."""

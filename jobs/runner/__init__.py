"""Runner of all jobs: session, tables, checks, pending days, records, exit codes."""

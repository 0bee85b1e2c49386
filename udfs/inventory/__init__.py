"""Stock actions: needs, transfers, reasons, and their simulation."""

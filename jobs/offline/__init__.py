"""What training, evaluation and backtests hold on the driver: a bounded sample of the shop."""

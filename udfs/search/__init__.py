"""Search: what is looked for and bought, what is rising and falling."""

"""Messages in: adapters of the Consumer port; each hands deliveries to `process` and settles them by its Outcome."""

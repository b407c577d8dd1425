"""The command line's commands, one module per group: read input, call the domain, show the result."""

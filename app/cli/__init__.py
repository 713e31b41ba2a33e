"""The command line: one file for each command group; the only reader of argv and environ."""

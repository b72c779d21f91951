"""The command line: arguments in, exit code out; each command is one module named like it."""

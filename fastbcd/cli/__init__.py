"""The command line: fastbcd train, predict, info."""

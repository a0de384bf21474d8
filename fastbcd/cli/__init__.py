"""The command line: fastbcd train, predict, export, info."""

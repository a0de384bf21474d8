"""The command line: fastbcd train, predict, export, plot, info."""

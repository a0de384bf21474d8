"""Where arrays of samples are: in memory, or in files that are larger than it."""

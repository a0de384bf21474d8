"""Storage of arrays of samples: in memory, or in files that are larger than memory."""

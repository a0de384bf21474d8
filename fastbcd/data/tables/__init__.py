"""Tables of numbers, categories, true/false, dates and gaps, and their encoding as numbers."""

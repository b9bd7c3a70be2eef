"""Studies that reproduce, or set beside real data, what the papers and this package claim: each a command of its own."""

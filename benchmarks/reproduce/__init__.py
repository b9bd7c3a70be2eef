"""Studies that reproduce what the papers claim, or set this package beside real data: each a command of its own."""

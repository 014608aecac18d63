"""System checks: mistakes of an installation that are better heard of at start."""

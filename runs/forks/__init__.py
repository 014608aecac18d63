"""Forks: new runs that begin where another one was at a snapshot."""

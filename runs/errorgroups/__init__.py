"""Failed tries in groups of what is the same failure: how they are told apart, kept, judged and shown."""

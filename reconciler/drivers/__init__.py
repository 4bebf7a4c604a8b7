"""Back-ends: one folder each, loaded by entry point when a target of its type is in the plan."""

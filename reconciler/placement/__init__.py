"""Where things go, and why not elsewhere. Pure; between what was seen and what a kind expands into."""

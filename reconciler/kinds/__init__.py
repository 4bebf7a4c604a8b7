"""What authors may declare: one file a kind, found by looking into this folder."""

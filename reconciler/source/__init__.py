"""Where configuration comes from: git, read as blobs, and strict YAML."""

"""What can be set: a model a command, off which flags, TOML keys and config.json are read."""

"""Where records live: one protocol, one file per adapter."""

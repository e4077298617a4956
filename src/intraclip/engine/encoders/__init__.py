"""Frame encoders: networks that turn frames into one vector each, on any engine."""

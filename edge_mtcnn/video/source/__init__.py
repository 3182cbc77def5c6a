"""Frames from cameras, files and streams that come and go."""

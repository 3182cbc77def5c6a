"""How fast a detector is here: timing, tuning, and the report of ``edge-mtcnn bench``."""

"""The cascade of the paper on NumPy and OpenCV: boxes, pyramid, stages, score, and the search.

The networks come in as callables; no file, session or thread is known here.
"""

"""Benchmarks: one script per question, ``python -m benchmarks.NAME --help``.

Development only, never packed into the wheel. Scripts use the public face of ``edge_mtcnn``, print
a table and write one JSON schema, see ``results``.
"""

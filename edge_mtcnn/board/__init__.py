"""This machine: its identity, its sensors, and the memory and start of processes."""

"""Facts about this machine: what it is, what its sensors say, how much memory a process has."""

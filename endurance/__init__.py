"""What must survive: faults of sources, long runs, a service under load. Pass or fail, no speed."""

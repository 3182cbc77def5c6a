"""How far the networks are from what the processor can do."""

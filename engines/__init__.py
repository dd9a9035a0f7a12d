"""How a network runs: what an engine promises, where its bytes lie, and the backends. Imports nothing of ours."""

"""Network definitions in torch (extra `train`); nothing that runs a series imports this package."""

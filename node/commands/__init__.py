"""What the commands of `imaging-node` do; `node/__main__.py` only reads the command line."""

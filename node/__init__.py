"""When and where: sockets, files, durability. `flow.py` is the file to open first."""

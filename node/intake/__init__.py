"""From the bytes of an object to a file in the spool."""

"""DICOM's own network protocol: who calls the node, and whom it calls."""

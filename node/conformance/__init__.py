"""The DICOM conformance statement of a configuration, after PS3.2 Annex N, written from the node's own tables."""

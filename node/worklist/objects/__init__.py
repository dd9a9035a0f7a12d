"""The result objects of a triage: report, capture, key objects; map, region and pseudo-healthy series on request."""

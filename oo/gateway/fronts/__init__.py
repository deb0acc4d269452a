"""The fronts: HTTP in, HTTP out."""

"""The fronts: from HTTP to the gateway's chain and back."""

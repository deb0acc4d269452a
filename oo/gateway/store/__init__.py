"""Where a gateway keeps its things."""

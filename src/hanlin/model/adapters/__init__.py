"""Small trained additions to a frozen model: low-rank changes, soft prompts, learned prefixes; switched per row."""

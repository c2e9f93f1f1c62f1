"""What people said, and what they thought of the answers: kept, masked, found again, deleted when they ask."""

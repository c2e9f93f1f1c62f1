"""From whatever text people have to clean, split documents with a report of everything done to them."""

"""Records of tasks: files as people have them, the sides of a split, and what is wrong with either."""

"""What was picked, for people: selections read back, measured, and laid out on a page."""

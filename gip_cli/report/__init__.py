"""What was picked, for people: selections read back, measured, and laid out on a page."""

from enum import StrEnum

Method = StrEnum("Method", ["pca", "umap"])  # how rows are laid out in the plane

"""One foreign library per file; its exceptions die here."""

"""Build the Dockerfile by hand, and run the result as a container engine would."""

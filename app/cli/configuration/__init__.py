"""Configuration as files: read, compared with the service, carried out, and written."""

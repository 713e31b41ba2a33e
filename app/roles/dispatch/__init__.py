"""The dispatch role: deliveries in, HTTP requests out, and for each outcome what the verdict orders."""

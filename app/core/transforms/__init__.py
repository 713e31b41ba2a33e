"""What is kept of an event's data, and what a JMESPath expression makes of an event."""

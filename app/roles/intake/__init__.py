"""The role that turns records of other systems' topics into events."""

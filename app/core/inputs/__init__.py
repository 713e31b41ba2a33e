"""Inputs: how records of other systems' topics become events, as `inputs.yaml` declares it."""

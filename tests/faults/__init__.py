"""The guarantees under violence: rounds of faults with an independent checker, and single attacks."""

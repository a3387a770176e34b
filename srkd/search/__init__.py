"""The search of `srkd compress`: budgets, candidates, what they cost on a device, what they are worth."""

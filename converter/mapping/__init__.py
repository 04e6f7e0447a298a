"""From named tensors to a `state_dict`: patterns, rules, plan and its application."""

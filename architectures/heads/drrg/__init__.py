"""DRRG: proposals, local graphs and the graph network that links them."""

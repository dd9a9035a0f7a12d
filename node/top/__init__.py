"""`imaging-node top`: what the dashboards show, in a terminal. Facts, then pictures of them."""

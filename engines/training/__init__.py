"""Training of the shipped networks (extra `train`). `physics` needs numpy only; the rest torch, scipy, scikit-image."""

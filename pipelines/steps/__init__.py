"""Small pieces that pipelines are made of."""

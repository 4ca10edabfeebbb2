"""Torch networks that a genotype and an encoder name describe."""

"""Torch module -> deployable file -> session -> measured time; knows nothing of genotypes."""

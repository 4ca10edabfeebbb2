"""Training one network well: losses, metrics, checkpoints, the trainer."""

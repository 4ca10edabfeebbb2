"""What this machine is: its processor, its GPUs, what figures were measured on.

These modules go into kits as they are (see `export.kit`).
"""

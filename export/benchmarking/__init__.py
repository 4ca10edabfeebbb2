"""What a file costs on a device: time, memory, energy, operator by operator."""

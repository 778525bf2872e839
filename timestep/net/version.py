"""The version of timestep, which its requests name."""

__version__ = "0.1.0"

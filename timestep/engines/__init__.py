"""Agents on engines that keep a run alive across crashes; each engine has an extra of its name."""

"""Where settings are written. Each module reads one kind of place into a pydantic-settings source.

Every source of ours records an `Entry` for each value: its path, and the place where a user wrote
it. pydantic-settings' own sources keep only values, and ignore unknown variables. So ours read the
variables and files. Both kinds work together, see `timestep.config.sources.base`.
"""

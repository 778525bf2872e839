"""Where settings are written. Each module reads one kind of place into a pydantic-settings source.

Every source of ours records an `Entry` for each value: its path, and the place where a user wrote
it. The library's own sources keep only values, and pass over unknown variables; that is why they are
not used for variables and files here. They work beside ours, see `timestep.config.sources.foreign`.
"""

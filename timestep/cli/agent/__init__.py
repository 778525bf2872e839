"""Running an agent: what ``run`` and ``chat`` share."""

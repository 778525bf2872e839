"""Timestep measured beside its peers and the bare wire: ``python -m bench``; see docs/performance.md."""

import os

# Its prices would be fetched from the network with the first import.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

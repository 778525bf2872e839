"""A question about an image.

python examples/images.py PHOTO.png

The model must support images, as these do: ollama/gemma3, ollama/qwen2.5vl, gpt-4.1.
"""

import base64
import mimetypes
import sys
from pathlib import Path

from agents import Agent, Runner
from providers import MODEL, run_config

path = Path(sys.argv[1])
kind = mimetypes.guess_type(path.name)[0] or "image/png"
image = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

message = {
    "role": "user",
    "content": [
        {"type": "input_text", "text": "What is in this image?"},
        {"type": "input_image", "image_url": image, "detail": "auto"},
    ],
}
result = Runner.run_sync(Agent(name="Viewer", model=MODEL), [message], run_config=run_config)
print(result.final_output)

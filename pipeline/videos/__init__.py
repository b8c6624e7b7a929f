"""Videos as tensors: containers, timelines, decoding, clips, and how their pixels are prepared."""

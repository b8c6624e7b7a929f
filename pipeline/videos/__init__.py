"""Videos as tensors: containers, timelines, decoding, clips and how their pictures are prepared."""

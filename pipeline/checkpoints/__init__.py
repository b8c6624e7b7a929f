"""Published checkpoints: what a foreign file holds, and how it becomes weights of vidpipe's."""

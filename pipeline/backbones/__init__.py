"""Clip backbones: a clip of pixels becomes a feature map and scores; their weights, and the engines that run them."""

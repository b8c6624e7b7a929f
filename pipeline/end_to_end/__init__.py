"""Backbones and aggregator as one network, and the strategies by which its training fits into memory."""

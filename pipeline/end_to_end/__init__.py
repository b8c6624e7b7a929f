"""Backbones and aggregator as one network, and the strategies that fit its training into memory."""

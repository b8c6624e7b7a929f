"""Aggregators: from the feature maps and scores of a clip of a video to the scores of the video."""

"""Aggregators: from the feature maps and scores of a video's clips to the scores of the video."""

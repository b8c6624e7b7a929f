"""How feature maps may be compressed, by name; apart from the codecs, so that the command line need not load Zarr."""

COMPRESSION_NAMES = ("zstd", "lz4", "none")
DEFAULT_COMPRESSION = "zstd"

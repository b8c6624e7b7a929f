"""How feature maps may be compressed, by name; `format` knows the codecs."""

COMPRESSION_NAMES = ("zstd", "lz4", "none")
DEFAULT_COMPRESSION = "zstd"

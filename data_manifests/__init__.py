"""What installs along with vidpipe: the schema of manifests, an example of one, and an example of a class list."""

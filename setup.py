"""Which packages vidpipe has: all that are found, so that no new folder can be forgotten. pyproject.toml has the rest.

The top-level folders install as `vidpipe.pipeline` and so on; alone they would collide in a user's site-packages.
"""

from setuptools import find_packages, setup

FOLDERS = ("pipeline", "stages", "cli", "data_manifests")

packages = ["vidpipe"]
for folder in FOLDERS:
    packages += [f"vidpipe.{folder}", *(f"vidpipe.{folder}.{name}" for name in find_packages(folder))]

setup(packages=packages, package_dir={f"vidpipe.{folder}": folder for folder in FOLDERS})

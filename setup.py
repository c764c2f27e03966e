"""Only what pyproject.toml cannot say: the C extension, optional so that an install without a compiler still works."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent))


class OptionalBuildExt(build_ext):
    """A missing compiler leaves the package with the plain-Python ReferenceBook instead of failing the install."""

    def finalize_options(self) -> None:
        super().finalize_options()
        for extension in self.extensions or ():
            extension.optional = True


setup(cffi_modules=["native/extension_build.py:ffibuilder"], cmdclass={"build_ext": OptionalBuildExt})

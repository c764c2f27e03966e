"""The version, in one place for the code; a test holds it equal to pyproject.toml's."""

VERSION = "0.1.0"

"""Raw frames of connections, kept as they came and went: format, writer, reader."""

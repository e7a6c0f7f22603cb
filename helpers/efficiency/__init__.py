"""Making networks smaller and faster: one module a chapter."""

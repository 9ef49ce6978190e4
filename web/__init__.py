"""The file service: a `DirectoryStore` over HTTP, and pages for people."""

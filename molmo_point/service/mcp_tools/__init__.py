"""Read-only MCP tools over a Pointer: point, count and ask about an image that the host names.

allowed_images  which images may be read
server          the tools on the official SDK, over stdio and HTTP
"""

"""The gateway's middlewares, a file each."""

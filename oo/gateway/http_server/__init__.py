"""aiohttp.web's server, hardened."""

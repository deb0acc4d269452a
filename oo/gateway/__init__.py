"""The gateway: answers what the clients send, and runs proxied calls through a pipeline of the library's."""

"""The gateway: the wire of the clients, answered; proxied calls run through a pipeline of the library's own."""

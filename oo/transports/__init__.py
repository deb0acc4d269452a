"""The transports: each sends a Request, gives a Response, and translates its library's errors at the edge."""

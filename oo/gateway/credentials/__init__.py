"""Kinds of credentials: how a secret gets into a request for an upstream."""

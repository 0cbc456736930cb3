"""The HTTP surface: routes, wire format, problems, middleware."""

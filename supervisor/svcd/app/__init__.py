"""What a user declares: decorators, the dependency graph, and the schemas of apis.

Nothing here imports trio, and pydantic only where schemas are built: the graph is read by short-lived children.
"""

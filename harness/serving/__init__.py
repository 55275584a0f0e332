"""Serving engines: started in a process of their own, or a server that runs already."""

"""The contract of methods: pytest runs it on every method in the registry, plug-ins included.

`python -m pytest --pyargs draftmark.contract -k top_k` tests the method `top_k`.
"""

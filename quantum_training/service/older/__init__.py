"""The addresses of four older services, on the same reads and starts as /api/v2, so that their clients go on working.

docs/service.md lists them. What an older service promised and nothing here can tell is answered with null or refused.
"""

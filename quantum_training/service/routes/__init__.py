"""Addresses of the service and their parameters. What they answer is made in reading/."""

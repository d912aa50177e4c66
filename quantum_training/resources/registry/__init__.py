"""The model registry: trained versions in MLflow."""

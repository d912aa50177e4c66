"""Access to the store, the model registry (MLflow), the database, events and alerts. Only here is mlflow imported."""

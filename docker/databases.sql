-- Run by the image of Postgres when its volume is new; the first database, dagster, is made by POSTGRES_DB.
CREATE DATABASE mlflow;
CREATE DATABASE quantum_training;

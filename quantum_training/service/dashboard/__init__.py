"""The dashboard: HTML pages of the service, drawn from stored records. They hold no state of their own."""

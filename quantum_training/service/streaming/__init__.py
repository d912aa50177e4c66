"""What is sent to clients that stay connected, as Server-Sent Events: new events, and the progress of active runs."""

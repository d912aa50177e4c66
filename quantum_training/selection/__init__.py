"""Pure decisions: who is champion, on what evidence. No I/O, no dagster."""

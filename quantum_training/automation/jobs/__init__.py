"""Jobs that people, schedules and sensors start."""

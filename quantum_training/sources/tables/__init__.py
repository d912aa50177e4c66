"""Tables of bars in files, as people have them: where the files are, and what their rows, numbers and stamps mean."""

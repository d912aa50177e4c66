"""Lost state that is made again from what is left: each module is the work of one job that a person starts."""

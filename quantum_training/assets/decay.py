ASSET = "decay_report"

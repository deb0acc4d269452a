"""What every chain stands on: the pipeline, its clock, its errors and its mask."""

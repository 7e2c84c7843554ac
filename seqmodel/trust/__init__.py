"""What stands beside a score: duplicates, baselines, intervals, calibration."""

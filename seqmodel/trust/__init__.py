"""The evidence beside a test score: duplicates, baselines, intervals, calibration."""

"""What every room shares: errors, settings, records, files, seeds, devices, progress. Knows no model."""

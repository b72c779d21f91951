"""What all report pages share. For others: `files`."""

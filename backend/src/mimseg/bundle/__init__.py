"""Model bundles: describing, reading, finding, writing and exchanging them. Reading needs neither torch nor monai."""

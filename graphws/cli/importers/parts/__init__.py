"""What the importers share: their protocol, readers of files, tables and splits, and modules of networks."""

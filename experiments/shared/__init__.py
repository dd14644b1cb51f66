"""What several experiments need: scenes, results on disk, tables and pictures, small models."""

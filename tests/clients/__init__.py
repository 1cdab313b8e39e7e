"""ViUR's own programs, unchanged, against a served instance."""

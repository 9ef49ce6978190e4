"""An incremental build of ClueBot NG's models."""

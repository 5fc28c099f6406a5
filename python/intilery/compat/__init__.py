"""Other event clients' interfaces, for programs that were written for those. docs/migration.md has the way."""

"""Sources of users, one file for each; ``docs/users.md`` says how they are written."""

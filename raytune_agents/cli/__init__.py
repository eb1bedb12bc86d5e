"""The command line: `app` has every command, the long ones have files of their own."""

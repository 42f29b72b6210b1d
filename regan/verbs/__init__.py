"""One file a verb: checks the call, uses the rooms, writes output and history."""

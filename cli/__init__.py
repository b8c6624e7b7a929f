"""The command line: parse, call one stage, show its summary, set the exit code."""

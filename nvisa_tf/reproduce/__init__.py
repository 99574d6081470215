"""The paper's tables and figures as commands: what to run, running it, what came of it."""

"""The verbs: each package is one stage, with frozen settings, a plan, a task and a run."""

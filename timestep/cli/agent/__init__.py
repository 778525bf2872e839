"""What the commands that run an agent share: options, setup, events, screen, conversations."""
